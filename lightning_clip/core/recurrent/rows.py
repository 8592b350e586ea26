"""`first_rows`: selects a few of the sequences that a recurrent layer read, as `Rows`."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from lightning_clip.functional.recurrence import State


@dataclass(frozen=True, slots=True)
class Rows:
    """Sequences in the layout of `PackedSequence`: step t has `sizes[t]` rows.

    Attributes:
        inputs: The inputs of the layer, `(sum of sizes, input_size)`.
        outputs: The outputs of the top layer, with the directions concatenated, `(sum of sizes, directions * size)`.
        sizes: The number of sequences at each step, `(steps,)`, on the CPU.
        start: The state before the first step, each tensor `(num_layers * directions, rows, size)`.
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
    """Select the first sequences of a batch, or the longest ones of a packed batch, in float32 or better.

    Args:
        module: The layer.
        inputs: The input of the layer's `forward`: batched, unbatched or packed.
        outputs: The output of its `forward`.
        hx: The initial state passed to its `forward`; `None` for zeros.
        count: The largest number of sequences to select.

    Returns:
        The selected sequences.
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
