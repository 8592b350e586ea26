"""`LayerCall`: what a recurrent layer was given in one call, a few rows of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence


@dataclass(frozen=True, slots=True)
class LayerCall:
    """What a recurrent layer was given in one call, apart from any graph.

    Attributes:
        inputs: `(steps, rows, input_size)`.
        hiddens: The state before the first step, `(num_layers, rows, …)` each; `None` for zeros.
    """

    inputs: Tensor
    hiddens: tuple[Tensor, ...] | None

    @classmethod
    def of(cls, layer: nn.RNNBase, args: Sequence[Any], kwargs: Mapping[str, Any], *, rows: int) -> "LayerCall":
        """Take some rows of what `layer(*args, **kwargs)` was given.

        Of a packed batch these are the longest rows, up to the last step of the shortest among them.

        Args:
            layer: The layer.
            args: Its positional arguments.
            kwargs: Its keyword arguments.
            rows: How many rows at most.

        Returns:
            The call.
        """
        inputs = args[0] if args else kwargs["input"]
        hiddens = args[1] if len(args) > 1 else kwargs.get("hx")
        state = None if hiddens is None else tuple((hiddens,) if isinstance(hiddens, Tensor) else hiddens)
        if isinstance(inputs, PackedSequence):
            return cls._of_packed(inputs, state, rows)
        if inputs.dim() == 2:
            inputs, state = inputs.unsqueeze(1), None if state is None else tuple(part.unsqueeze(1) for part in state)
        elif layer.batch_first:
            inputs = inputs.transpose(0, 1)
        state = None if state is None else tuple(part[:, :rows].detach() for part in state)
        return cls(inputs[:, :rows].detach(), state)

    @classmethod
    def _of_packed(cls, packed: PackedSequence, state: tuple[Tensor, ...] | None, rows: int) -> "LayerCall":
        inputs, lengths = pad_packed_sequence(packed._replace(data=packed.data.detach()))
        longest = lengths.topk(min(rows, len(lengths)))
        chosen = longest.indices.to(inputs.device)
        state = None if state is None else tuple(part.detach().index_select(1, chosen) for part in state)
        return cls(inputs[: int(longest.values.min())].index_select(1, chosen), state)
