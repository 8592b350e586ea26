"""`feed_forward`: the fully connected layers of `MLPRegressor`."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

Activation = Literal["relu", "leaky_relu", "rrelu", "tanh", "sigmoid"]
HiddenInit = Literal["he", "he_normal", "xavier", "orthogonal"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "rrelu": nn.RReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
"""The functions between two layers, with torch's default slopes."""

HIDDEN_INITS: dict[str, Callable[..., Tensor]] = {
    "he": lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu"),
    "he_normal": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "xavier": nn.init.xavier_uniform_,
    "orthogonal": nn.init.orthogonal_,
}
"""The functions that fill the weights of a hidden layer."""


def feed_forward(
    sizes: Sequence[int],
    *,
    activation: Activation = "relu",
    init: HiddenInit = "he",
    batch_norm: bool = False,
    residual: bool = False,
) -> nn.Sequential:
    """Build hidden layers with activations, and a linear output layer.

    Args:
        sizes: The number of inputs, of the units of each hidden layer, and of outputs.
        activation: The function after each hidden layer.
        init: How the weights of hidden layers start; output weights are Glorot-uniform, and biases zero.
        batch_norm: Whether to normalize the pre-activations of each hidden layer over the batch.
        residual: Whether a hidden layer with as many inputs as units adds its inputs to its outputs.

    Returns:
        The network.
    """
    linears = [nn.Linear(fan_in, fan_out) for fan_in, fan_out in pairwise(sizes)]
    for linear in linears:
        HIDDEN_INITS[init](linear.weight)
        nn.init.zeros_(linear.bias)
    nn.init.xavier_uniform_(linears[-1].weight)
    blocks = (_hidden(linear, activation, batch_norm, residual) for linear in linears[:-1])
    return nn.Sequential(*(layer for block in blocks for layer in block), linears[-1])


class Residual(nn.Module):
    """`x + f(x)`.

    Args:
        inner: The function f, which keeps the shape of its input.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor) -> Tensor:
        """Add the inputs, of any shape, to what `inner` makes of them."""
        outputs: Tensor = inputs + self.inner(inputs)
        return outputs


def has_residual(sizes: Sequence[int]) -> bool:
    """Whether a hidden layer has as many inputs as units, so that `residual` would change it."""
    return any(fan_in == fan_out for fan_in, fan_out in pairwise(sizes[:-1]))


def _hidden(linear: nn.Linear, activation: str, batch_norm: bool, residual: bool) -> Iterator[nn.Module]:
    normalized = [nn.BatchNorm1d(linear.out_features)] if batch_norm else []
    layers = [linear, *normalized, ACTIVATIONS[activation]()]
    if residual and linear.in_features == linear.out_features:
        yield Residual(nn.Sequential(*layers))
    else:
        yield from layers
