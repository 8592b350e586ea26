"""`first_rows`: a few of the sequences that a recurrent layer has read, packed."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from lightning_clip.functional.recurrence import State


@dataclass(frozen=True, slots=True)
class Rows:
    """Sequences packed as in `PackedSequence`: step t holds `sizes[t]` of them.

    Attributes:
        inputs: What the layer has read, `(sum of sizes, input_size)`.
        outputs: What the top has returned, directions side by side, `(sum of sizes, directions * size)`.
        sizes: `(steps,)`, on the CPU.
        start: State before the first step, each `(num_layers * directions, rows, size)`.
    """

    inputs: Tensor
    outputs: Tensor
    sizes: Tensor
    start: State


def first_rows(
    module: nn.RNNBase,
    inputs: Tensor | PackedSequence,
    outputs: Tensor | PackedSequence,
    hx: Any,
    count: int,
) -> Rows:
    """The first sequences of a batch, in float32 or better; of a packed batch the longest ones.

    Args:
        module: The layer.
        inputs: As its `forward` took them: batched, unbatched or packed.
        outputs: As it returned them.
        hx: As it took it; `None` for zeros.
        count: How many sequences, at most.

    Returns:
        The rows.
    """
    start = () if hx is None else tuple(hx) if isinstance(hx, tuple | list) else (hx,)
    if isinstance(inputs, PackedSequence) and isinstance(outputs, PackedSequence):
        all_sizes, order = inputs.batch_sizes, inputs.sorted_indices
        values, results = (
            torch.cat([step[:count] for step in torch.split(packed.data, all_sizes.tolist())])
            for packed in (inputs, outputs)
        )
        sizes = all_sizes.clamp(max=count)
        start = start if order is None else tuple(state.index_select(1, order) for state in start)
    else:
        assert isinstance(inputs, Tensor)
        assert isinstance(outputs, Tensor)
        if inputs.dim() == 2:
            inputs, outputs = inputs.unsqueeze(1), outputs.unsqueeze(1)
            start = tuple(state.unsqueeze(1) for state in start)
        elif module.batch_first:
            inputs, outputs = inputs.transpose(0, 1), outputs.transpose(0, 1)
        values, results = inputs[:, :count].flatten(0, 1), outputs[:, :count].flatten(0, 1)
        sizes = torch.full((inputs.shape[0],), min(count, inputs.shape[1]))
    start = tuple(_wide(state[:, :count]) for state in start) or _zeros(module, _wide(values), int(sizes[0]))
    return Rows(_wide(values), _wide(results), sizes, start)


def _zeros(module: nn.RNNBase, like: Tensor, rows: int) -> State:
    depth = module.num_layers * (2 if module.bidirectional else 1)
    output = like.new_zeros(depth, rows, module.proj_size or module.hidden_size)
    return (output, like.new_zeros(depth, rows, module.hidden_size)) if module.mode == "LSTM" else (output,)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32))
