"""What a recurrent layer is called with: one call, and calls that continue one another through the state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence


@dataclass(frozen=True, slots=True)
class LayerCall:
    """The detached arguments of one call of a recurrent layer.

    Attributes:
        inputs: The inputs, `(steps, rows, input_size)`.
        hiddens: The state before the first step, each tensor `(num_layers, rows, …)`; `None` for zeros.
    """

    inputs: Tensor
    hiddens: tuple[Tensor, ...] | None

    @classmethod
    def of(
        cls, layer: nn.RNNBase, args: Sequence[Any], kwargs: Mapping[str, Any], *, rows: int, at_least: int
    ) -> "LayerCall":
        """Capture a few rows of the arguments of `layer(*args, **kwargs)`.

        For a packed batch these are the longest rows that are long enough, cut to the length of the shortest of them.

        Args:
            layer: The layer.
            args: The positional arguments of the call.
            kwargs: The keyword arguments of the call.
            rows: The largest number of rows to capture.
            at_least: The number of steps below which a packed row is left out, if another one is long enough.

        Returns:
            The captured call.
        """
        inputs = args[0] if args else kwargs["input"]
        hiddens = args[1] if len(args) > 1 else kwargs.get("hx")
        state = None if hiddens is None else tuple((hiddens,) if isinstance(hiddens, Tensor) else hiddens)
        if isinstance(inputs, PackedSequence):
            return cls._of_packed(inputs, state, rows, at_least)
        if inputs.dim() == 2:
            inputs, state = inputs.unsqueeze(1), None if state is None else tuple(part.unsqueeze(1) for part in state)
        elif layer.batch_first:
            inputs = inputs.transpose(0, 1)
        state = None if state is None else tuple(part[:, :rows].detach() for part in state)
        return cls(inputs[:, :rows].detach(), state)

    @classmethod
    def of_cell(cls, args: Sequence[Any], kwargs: Mapping[str, Any], rows: int) -> "LayerCall":
        """Capture a few rows of the arguments of one call of a cell, as a sequence of one step."""
        inputs = args[0] if args else kwargs["input"]
        given = args[1] if len(args) > 1 else kwargs.get("hx")
        state = None if given is None else tuple((given,) if isinstance(given, Tensor) else given)
        if inputs.dim() == 1:
            inputs, state = inputs.unsqueeze(0), None if state is None else tuple(part.unsqueeze(0) for part in state)
        state = None if state is None else tuple(part[:rows].detach().unsqueeze(0) for part in state)
        return cls(inputs[:rows].detach().unsqueeze(0), state)

    @classmethod
    def _of_packed(
        cls, packed: PackedSequence, state: tuple[Tensor, ...] | None, rows: int, at_least: int
    ) -> "LayerCall":
        inputs, lengths = pad_packed_sequence(packed._replace(data=packed.data.detach()))
        enough = max(1, int((lengths >= at_least).sum()))  # the lengths are on the CPU
        longest = lengths.topk(min(rows, enough))
        chosen = longest.indices.to(inputs.device)
        state = None if state is None else tuple(part.detach().index_select(1, chosen) for part in state)
        return cls(inputs[: int(longest.values.min())].index_select(1, chosen), state)


class CallChain:
    """The calls of a layer in one forward pass; those that continue one another are one long call.

    A call continues the one before if it starts from the very state that the one before has returned, still attached to
    the graph: an encoder and a decoder with the same weights, or a loop over the steps. A detached state starts anew.

    Args:
        rows: The largest number of rows to keep.
        at_least: The number of steps below which a packed row is left out, if another one is long enough.
    """

    def __init__(self, *, rows: int, at_least: int) -> None:
        self._rows, self._at_least = rows, at_least
        self._longest: list[LayerCall] = []
        self._running: list[LayerCall] = []
        self._end: Tensor | None = None  # kept, so that no other tensor takes its place in memory

    @property
    def longest(self) -> LayerCall | None:
        """The longest call, the latest of several; `None` if none has enough steps."""
        if _steps(self._longest) < self._at_least:
            return None
        return LayerCall(torch.cat([call.inputs for call in self._longest]), self._longest[0].hiddens)

    def add(self, layer: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        """Add a call.

        Args:
            layer: The layer or cell.
            args: The positional arguments of the call.
            kwargs: The keyword arguments of the call.
            output: What the call has returned.
        """
        state, is_cell = _given_state(args, kwargs), isinstance(layer, nn.RNNCellBase)
        call = LayerCall.of_cell(args, kwargs, self._rows) if is_cell else None
        if isinstance(layer, nn.RNNBase):
            call = LayerCall.of(layer, args, kwargs, rows=self._rows, at_least=self._at_least)
        if call is None:
            return
        if not self._continues(call, state):
            self._running = []
        self._running.append(call)
        self._end = _first(output if is_cell else output[1])
        if _steps(self._running) >= _steps(self._longest):
            self._longest = self._running

    def _continues(self, call: LayerCall, state: Tensor | None) -> bool:
        if state is None or self._end is None or not state.requires_grad or not self._running:
            return False
        return state.data_ptr() == self._end.data_ptr() and call.inputs.shape[1:] == self._running[0].inputs.shape[1:]


def _steps(calls: Sequence[LayerCall]) -> int:
    return sum(len(call.inputs) for call in calls)


def _first(state: Any) -> Tensor | None:
    """The tensor of a state that the next call is given: h, of (h, c) too."""
    first = state[0] if isinstance(state, tuple | list) and state else state
    return first if isinstance(first, Tensor) else None


def _given_state(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    return _first(args[1] if len(args) > 1 else kwargs.get("hx"))
