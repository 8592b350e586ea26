"""Gradient flow through a recurrent layer: the gradient of a late loss at every earlier time step."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]

_KERNELS: Mapping[str, Callable[..., State]] = {
    "RNN_TANH": torch.rnn_tanh,
    "RNN_RELU": torch.rnn_relu,
    "LSTM": torch.lstm,
    "GRU": torch.gru,
}


def gradient_flow(
    layer: nn.RNNBase,
    inputs: Tensor,
    hiddens: Tensor | State | None = None,
    *,
    direction: Tensor | None = None,
    max_steps: int | None = None,
    exact: bool = False,
    probes: int = 0,
) -> Tensor:
    """The gradient of a loss at the last step only, at each time lag before it, in the first of the stacked layers.

    The loss is `(direction * h_T).sum()`, where `h_T` is the last state of the top layer. By default the function
    returns the gradient with respect to the inputs: `x_t` enters at step t only, so `∂L/∂x_t` is `W_ih` transposed
    times the derivative at the pre-activations of step t, which has passed back through all later steps. It shrinks and
    grows with lag as `∂L/∂h_t` does, and a single backward pass through the fused layer gives it for all t. With
    `exact`, the function runs the layer step by step and returns `∂L/∂h_t` itself. The gradient at the output tensor of
    a fused layer is neither of these: it only holds what the loss contributes there directly.

    The layer itself is not called. Its weights are used without its dropout, so no `.grad`, hook or random number
    generator is touched. Half precision is raised to single precision.

    Args:
        layer: A unidirectional `nn.RNN`, `nn.LSTM` or `nn.GRU`, or a layer with the same weights and results.
        inputs: `(steps, batch, input_size)`, whatever the layer's `batch_first`.
        hiddens: The state before the first step, `(num_layers, batch, …)` each; zeros by default.
        direction: `∂L/∂h_T`, `(batch, size)`; ones by default.
        max_steps: How many of the last steps to follow the gradient over; earlier steps only run forward.
        exact: Whether to return the gradient at the states of the first layer instead of at its inputs.
        probes: How many extra inputs to add, always zero, with fixed random weights. A layer with few inputs needs them
            because its `W_ih` hides much of the gradient. Ignored with `exact`.

    Returns:
        `(lags, batch, size)`; lag 0 is the last step.

    Example:
        >>> layer = nn.RNN(1, 1, nonlinearity="relu", bias=False)
        >>> for weight, value in zip(layer.parameters(), (2.0, 0.5)):
        ...     _ = nn.init.constant_(weight, value)
        >>> gradient_flow(layer, torch.ones(4, 1, 1)).flatten()
        tensor([2.0000, 1.0000, 0.5000, 0.2500])
        >>> gradient_flow(layer, torch.ones(4, 1, 1), exact=True).flatten()
        tensor([1.0000, 0.5000, 0.2500, 0.1250])
    """
    weights = _weights(layer)
    inputs = inputs.detach().to(weights[0])
    if probes and not exact:
        inputs = nn.functional.pad(inputs, (0, probes))
        weights[0] = torch.cat([weights[0], _random_columns(weights[0], probes)], dim=1)
    state = _first_state(layer, inputs, hiddens)
    early = 0 if max_steps is None else max(0, len(inputs) - max_steps)
    flow = _at_states if exact else _at_inputs
    with torch.autocast(inputs.device.type, enabled=False), torch.enable_grad():  # autocast affects backward too
        if early:
            state = _run(layer, weights, inputs[:early], state)[1:]
        return flow(layer, weights, inputs[early:], state, direction).flip(0)


def random_directions(rows: int, size: int) -> Tensor:
    """Fixed random directions, the same at each call, with a total norm of 1.

    Args:
        rows: Number of directions.
        size: Number of elements in each.

    Returns:
        `(rows, size)`.
    """
    directions = _fixed_normal(rows, size)
    total: Tensor = torch.linalg.vector_norm(directions)
    return directions / total


def run_layer(layer: nn.RNNBase, inputs: Tensor, hiddens: Tensor | State | None = None) -> State:
    """Run torch's own layer with the weights of a given layer, without dropout and without calling that layer.

    Args:
        layer: See `gradient_flow`.
        inputs: `(steps, batch, input_size)`.
        hiddens: The state before the first step, `(num_layers, batch, …)` each; zeros by default.

    Returns:
        The outputs, `(steps, batch, size)`, then the tensors of the last state.
    """
    weights = _weights(layer)
    inputs = inputs.detach().to(weights[0])
    with torch.autocast(inputs.device.type, enabled=False):
        return _run(layer, weights, inputs, _first_state(layer, inputs, hiddens))


def _run(layer: nn.RNNBase, weights: list[Tensor], inputs: Tensor, state: State) -> State:
    """Run the kernel for this kind of layer, for as many stacked layers as the state covers."""
    hiddens: Any = state if isinstance(layer, nn.LSTM) else state[0]
    with torch.backends.cudnn.flags(enabled=False):  # its kernels want weights in one piece, and training mode
        return _KERNELS[layer.mode](inputs, hiddens, weights, layer.bias, len(state[0]), 0.0, False, False, False)


def _at_inputs(
    layer: nn.RNNBase, weights: list[Tensor], inputs: Tensor, state: State, direction: Tensor | None
) -> Tensor:
    inputs = inputs.detach().requires_grad_()
    outputs, *_ = _run(layer, weights, inputs, state)
    return _gradients(outputs[-1], direction, [inputs])[0]


def _at_states(
    layer: nn.RNNBase, weights: list[Tensor], inputs: Tensor, state: State, direction: Tensor | None
) -> Tensor:
    """Unroll the layer step by step, so that each state is one tensor and receives its full gradient."""
    each = len(weights) // layer.num_layers
    sequence = list(inputs.detach().chunk(len(inputs)))
    sequence[0].requires_grad_()
    first: list[Tensor] = []
    for depth in range(layer.num_layers):
        own = tuple(part[depth : depth + 1] for part in state)
        for step, values in enumerate(sequence):
            _, *last = _run(layer, weights[each * depth : each * (depth + 1)], values, own)
            own = tuple(last)
            sequence[step] = own[0]
        first = first or list(sequence)
    return torch.cat(_gradients(sequence[-1][0], direction, first))


def _gradients(last: Tensor, direction: Tensor | None, at: list[Tensor]) -> list[Tensor]:
    direction = torch.ones_like(last) if direction is None else direction.to(last)
    return list(torch.autograd.grad(last, at, direction))


def _random_columns(weight: Tensor, columns: int) -> Tensor:
    """Fixed columns to append to a weight, at the scale torch uses to initialize weights."""
    return _fixed_normal(len(weight), columns).to(weight).mul_(len(weight) ** -0.5)


def _fixed_normal(rows: int, columns: int) -> Tensor:
    """Standard normal numbers, the same at each call, drawn without touching torch's global generator."""
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))


def _weights(layer: nn.RNNBase) -> list[Tensor]:
    """The weights of the layer in single precision or better."""
    weights = [weight.detach() for weight in layer._flat_weights if weight is not None]
    return [weight.to(torch.promote_types(weight.dtype, torch.float32)) for weight in weights]


def _first_state(layer: nn.RNNBase, inputs: Tensor, hiddens: Tensor | State | None) -> State:
    if hiddens is not None:
        parts = (hiddens,) if isinstance(hiddens, Tensor) else hiddens
        return tuple(part.detach().to(inputs) for part in parts)
    sizes = [layer.proj_size or layer.hidden_size, *([layer.hidden_size] if isinstance(layer, nn.LSTM) else [])]
    return tuple(inputs.new_zeros(layer.num_layers, inputs.shape[1], size) for size in sizes)
