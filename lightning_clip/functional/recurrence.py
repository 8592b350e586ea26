"""States of lower layers and gate activations, which a fused recurrent layer does not return.

Rows are packed as in `torch.nn.utils.rnn.PackedSequence`: step t holds `sizes[t]` rows, and sizes never grow.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

State = tuple[Tensor, ...]

_RUN = {"RNN_TANH": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu, "GRU": torch.gru}


def run_depth(mode: str, inputs: Tensor, sizes: Tensor, start: State, parameters: Sequence[Tensor]) -> Tensor:
    """Run one layer of a stack, in one or two directions, on packed rows, without dropout.

    Args:
        mode: `"LSTM"`, `"GRU"`, `"RNN_TANH"` or `"RNN_RELU"`, as in `nn.RNNBase.mode`.
        inputs: `(sum of sizes, input_size)`.
        sizes: Rows in each step, `(steps,)`, integers on the CPU.
        start: The state before the first step, `(directions, rows, size)`; two such tensors for an LSTM.
        parameters: The parameters of one direction after the other, in the order of `nn.RNNBase`: weights, then biases
            if there are any, then the projection if there is one.

    Returns:
        The states of all steps, with the directions concatenated, `(sum of sizes, directions * size)`.
    """
    directions = len(start[0])
    each = len(parameters) // directions
    biased, two = each >= 4, directions == 2
    weights = list(parameters)
    # Fused cuDNN kernels want the weights of all layers in one piece of memory, and warn otherwise.
    with torch.backends.cudnn.flags(enabled=False):
        if mode == "LSTM":
            output: Tensor = torch.lstm(inputs, sizes, start, weights, biased, 1, 0.0, False, two)[0]
        else:
            output = _RUN[mode](inputs, sizes, start[0], weights, biased, 1, 0.0, False, two)[0]
    return output


def previous_states(states: Tensor, sizes: Sequence[int], start: Tensor, *, backwards: bool = False) -> Tensor:
    """The state that each step of each row started from.

    Args:
        states: The states that the steps returned, in one direction, `(sum of sizes, size)`.
        sizes: The number of rows in each step.
        start: The state before the first step of each row, `(rows, size)`.
        backwards: Whether the layer reads from the last step to the first.

    Returns:
        `(sum of sizes, size)`.

    Example:
        >>> states = torch.tensor([[1.0], [2.0], [3.0]])
        >>> previous_states(states, [2, 1], torch.zeros(2, 1)).squeeze(1)
        tensor([0., 0., 1.])
        >>> previous_states(states, [2, 1], torch.zeros(2, 1), backwards=True).squeeze(1)
        tensor([3., 0., 0.])
    """
    steps = torch.split(states, list(sizes))
    if not backwards:
        return torch.cat([start[: sizes[0]], *(step[:rows] for step, rows in zip(steps, sizes[1:], strict=False))])
    pieces = [
        part
        for (rows, later), step in zip(pairwise(sizes), steps[1:], strict=True)
        for part in (step, start[later:rows])
    ]
    return torch.cat([*pieces, start[: sizes[-1]]])


def gate_activations(
    inputs: Tensor,
    previous: Tensor,
    weights: tuple[Tensor, Tensor],
    biases: tuple[Tensor, Tensor] | None,
    gates: Sequence[int],
    hidden_size: int,
) -> Tensor:
    """The sigmoid gates of an LSTM (blocks 0, 1, 3: input, forget, output) or a GRU (blocks 0, 1: reset, update).

    Args:
        inputs: `(rows, input_size)`.
        previous: The state before the step, `(rows, size)`.
        weights: `weight_ih`, `(blocks * hidden_size, input_size)`, and `weight_hh`, `(blocks * hidden_size, size)`.
        biases: `bias_ih` and `bias_hh`, each `(blocks * hidden_size,)`, or `None`.
        gates: The blocks to return.
        hidden_size: The number of units.

    Returns:
        `(gates, rows, hidden_size)`, each value in [0, 1].
    """
    ih, hh = biases if biases is not None else (None, None)
    blocks = torch.split(F.linear(inputs, weights[0], ih) + F.linear(previous, weights[1], hh), hidden_size, dim=1)
    return torch.stack([blocks[gate] for gate in gates]).sigmoid()
