"""`UnrolledRecurrence`: runs `torch.nn` recurrent layers step by step, for changes that fused layers do not allow."""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.rnn import PackedSequence

from lightning_clip._errors import ArgumentError

State = tuple[Tensor, ...]
Hidden = Tensor | State


class UnrolledRecurrence(nn.RNNBase):
    """Mixin for `nn.RNN` and `nn.LSTM` that adds `unroll`: the result of `forward`, computed step by step.

    It supports everything that `nn.RNN` and `nn.LSTM` do: several layers, two directions, projections, dropout between
    layers, either order of dimensions, unbatched and packed sequences. As in the fused layers, the input weights are
    applied to all steps at once. On a CPU, an RNN takes up to 1.5 times as long as the fused layer, and an LSTM three
    to eight times as long; on a GPU, the difference is larger.
    """

    @abstractmethod
    def step(self, projected: Tensor, state: State, suffix: str) -> State:
        """Compute one time step of one layer in one direction.

        Args:
            projected: The input times the input weights, plus both biases, `(rows, gates * hidden_size)`.
            state: The return value of the previous step, each tensor `(rows, size)`.
            suffix: Suffix of the parameter names, for instance `"_l0_reverse"`.

        Returns:
            The new state, the output first.
        """

    def unroll(
        self, input: Tensor | PackedSequence, hx: Hidden | None = None
    ) -> tuple[Tensor | PackedSequence, Hidden]:
        """Compute what `forward` of the fused layer computes, step by step.

        Args:
            input: The same as for `forward`.
            hx: The same as for `forward`.

        Returns:
            The same as `forward`: the outputs of all steps and the last state.

        Raises:
            ArgumentError: The input does not have two or three dimensions.
            ValueError: The input has a different dtype than the weights.
            RuntimeError: A size differs from the layer's.
        """
        if isinstance(input, PackedSequence):
            data, sizes, order, order_back = input
            output, hidden = self._run(data, sizes, _each(partial(_select, order=order), hx))
            return PackedSequence(output, sizes, order, order_back), _each(partial(_select, order=order_back), hidden)
        if input.dim() == 2:
            output, hidden = self._run_equal(input.unsqueeze(1), _each(lambda state: state.unsqueeze(1), hx))
            return output.squeeze(1), _each(lambda state: state.squeeze(1), hidden)
        if input.dim() != 3:
            raise ArgumentError(f"{type(self).__name__}: the input must have 2 or 3 dimensions, not {input.dim()}.")
        output, hidden = self._run_equal(input.transpose(0, 1) if self.batch_first else input, hx)
        return output.transpose(0, 1) if self.batch_first else output, hidden

    def _run_equal(self, input: Tensor, hx: Hidden | None) -> tuple[Tensor, Hidden]:
        """Run all layers on sequences of one length, `(steps, batch, input_size)`."""
        steps, rows = input.shape[:2]
        output, hidden = self._run(input.flatten(0, 1), torch.full((steps,), rows), hx)
        return output.reshape(steps, rows, -1), hidden

    def _run(self, data: Tensor, sizes: Tensor, hx: Hidden | None) -> tuple[Tensor, Hidden]:
        """Run all layers on packed rows `(sum of sizes, input_size)`; step t has `sizes[t]` of them."""
        hidden = self._zeros(data, int(sizes[0])) if hx is None else hx
        check: Any = self.check_forward_args  # that of an LSTM takes both states
        check(data, hidden, sizes)
        states = hidden if isinstance(hidden, tuple) else (hidden,)
        directions = ("", "_reverse") if self.bidirectional else ("",)
        last: list[State] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in directions:
                start = tuple(state[len(last)] for state in states)
                output, end = self._run_one(data, sizes.tolist(), start, f"_l{layer}{direction}")
                outputs.append(output)
                last.append(end)
            data = torch.cat(outputs, dim=1)
            if layer < self.num_layers - 1:
                data = F.dropout(data, self.dropout, self.training)
        ends = tuple(torch.stack(parts) for parts in zip(*last, strict=True))
        return data, ends if isinstance(hidden, tuple) else ends[0]

    def _run_one(self, data: Tensor, sizes: list[int], start: State, suffix: str) -> tuple[Tensor, State]:
        """Run one layer in one direction. Packed sequences end, or start if reversed, at different steps."""
        bias = getattr(self, f"bias_ih{suffix}") + getattr(self, f"bias_hh{suffix}") if self.bias else None
        projected = torch.split(F.linear(data, getattr(self, f"weight_ih{suffix}"), bias), sizes)
        pace = -1 if suffix.endswith("_reverse") else 1
        state = tuple(part[: sizes[::pace][0]] for part in start)
        outputs, ended = [], []
        for step in projected[::pace]:
            rows, before = len(step), len(state[0])
            if rows < before:
                ended.append(tuple(part[rows:] for part in state))
                state = tuple(part[:rows] for part in state)
            elif rows > before:
                state = tuple(torch.cat((part, new[before:rows])) for part, new in zip(state, start, strict=True))
            state = self.step(step, state, suffix)
            outputs.append(state[0])
        end = tuple(torch.cat(parts) for parts in zip(state, *reversed(ended), strict=True)) if ended else state
        return torch.cat(outputs[::pace]), end

    def _zeros(self, data: Tensor, rows: int) -> Hidden:
        depth = self.num_layers * (2 if self.bidirectional else 1)
        output = data.new_zeros(depth, rows, self.proj_size or self.hidden_size)
        return (output, data.new_zeros(depth, rows, self.hidden_size)) if self.mode == "LSTM" else output


@overload
def _each(change: Callable[[Tensor], Tensor], hidden: Hidden) -> Hidden: ...
@overload
def _each(change: Callable[[Tensor], Tensor], hidden: Hidden | None) -> Hidden | None: ...
def _each(change: Callable[[Tensor], Tensor], hidden: Hidden | None) -> Hidden | None:
    if hidden is None:
        return None
    return tuple(change(state) for state in hidden) if isinstance(hidden, tuple) else change(hidden)


def _select(state: Tensor, order: Tensor | None) -> Tensor:
    return state if order is None else state.index_select(1, order)
