"""Initialization of recurrent layers: weights (`initialize_`) and gate biases (`set_forget_bias_`, `set_update_bias_`).

Layers stack the weights of all gates in one matrix; each block is initialized separately.
"""

import math
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_clip._checks import check_rule
from lightning_clip._errors import ArgumentError

Init = Literal["default", "orthogonal", "identity", "xavier"]

INITS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "default": None,
    "orthogonal": nn.init.orthogonal_,
    "identity": nn.init.eye_,
    "xavier": nn.init.xavier_uniform_,
}
"""The function that fills each block of `weight_hh`; `None` keeps torch's initialization."""


@torch.no_grad()
def initialize_(layer: nn.RNNBase, init: Init = "default", *, gain: float = 1.0) -> None:
    """Initialize the recurrent weights of a layer, in place.

    `weight_hh_l0` stacks four matrices in an LSTM and three in a GRU. Each block is filled separately: with
    `"orthogonal"`, every block is orthogonal, but the stacked matrix is not. Biases become zero, except with
    `"default"`.

    Args:
        layer: The layer; all its depths and directions are initialized.
        init: `"default"` keeps torch's uniform values within ±1/sqrt(hidden size); `"orthogonal"` draws orthogonal
            matrices, whose singular values are all 1; `"identity"` is the initialization of the IRNN, for ReLU units;
            `"xavier"` draws uniformly within ±sqrt(6 / (rows + columns)), for the input weights too.
        gain: Factor on the recurrent weights. Below 1, gradients shrink faster on their way back; above 1, slower.

    References:
        Andrew Saxe, James McClelland and Surya Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep
        linear neural networks", 2013, https://arxiv.org/abs/1312.6120.
        Quoc Le, Navdeep Jaitly and Geoffrey Hinton, "A Simple Way to Initialize Recurrent Networks of Rectified Linear
        Units", 2015, https://arxiv.org/abs/1504.00941.
    """
    fill = INITS[init]
    for name, weight in layer.named_parameters():
        kind = name.partition("_l")[0]
        if fill is not None and kind in ("bias_ih", "bias_hh"):
            weight.zero_()
        if fill is not None and (kind == "weight_hh" or (kind, init) == ("weight_ih", "xavier")):
            for block in torch.split(weight, layer.hidden_size):
                fill(block)
        if kind == "weight_hh":
            weight.mul_(gain)


def chrono_bias(hidden_size: int, max_lag: int | None) -> Tensor:
    """Draw gate biases that spread the memory of the units over all lags up to a longest one.

    Each bias is `log u` with u uniform in [1, max_lag - 1). A gate `sigmoid(log u)` keeps a value for about u steps.

    Args:
        hidden_size: Number of units.
        max_lag: Longest lag to remember, in time steps; at least 3.

    Returns:
        `(hidden_size,)`, in [0, log(max_lag - 1)].

    Raises:
        ArgumentError: `max_lag` is missing or too small.

    References:
        Corentin Tallec and Yann Ollivier, "Can recurrent neural networks warp time?", 2018,
        https://arxiv.org/abs/1804.11188.
    """
    if max_lag is None or max_lag < 3:
        raise ArgumentError(
            f"bias='chrono', max_lag={max_lag!r}: max_lag, the longest lag in steps, must be at least 3."
        )
    return torch.empty(hidden_size).uniform_(1.0, max_lag - 1.0).log_()


@torch.no_grad()
def set_forget_bias_(layer: nn.LSTM, bias: float | Literal["chrono"], *, max_lag: int | None = None) -> None:
    """Set the bias of the forget gates of an LSTM, in place. It decides how long the untrained LSTM remembers.

    Torch adds two biases, `bias_ih` and `bias_hh`: this sets the first, and the second to zero.

    Args:
        layer: The LSTM; all its depths and directions are changed.
        bias: A number for all units, or `"chrono"` to draw it with `chrono_bias` and set the input gates to its
            negative.
        max_lag: Longest lag to remember, in time steps; required by `"chrono"`.

    References:
        Felix Gers, Jürgen Schmidhuber and Fred Cummins, "Learning to Forget: Continual Prediction with LSTM", 2000,
        https://doi.org/10.1162/089976600300015015.
        Rafal Jozefowicz, Wojciech Zaremba and Ilya Sutskever, "An Empirical Exploration of Recurrent Network
        Architectures", 2015, https://proceedings.mlr.press/v37/jozefowicz15.html.
    """
    input_gate, forget_gate = 0, 1
    for suffix in _suffixes(layer):
        values = _gate_bias(layer.hidden_size, bias, max_lag)
        _set_gate_bias_(layer, suffix, forget_gate, values)
        if bias == "chrono":
            _set_gate_bias_(layer, suffix, input_gate, -values)


@torch.no_grad()
def set_update_bias_(layer: nn.GRU, bias: float | Literal["chrono"], *, max_lag: int | None = None) -> None:
    """Set the bias of the update gates of a GRU, in place. With a large bias, units keep their values.

    Args:
        layer: The GRU; all its depths and directions are changed.
        bias: A number for all units, or `"chrono"` to draw it with `chrono_bias`.
        max_lag: Longest lag to remember, in time steps; required by `"chrono"`.
    """
    update_gate = 1
    for suffix in _suffixes(layer):
        _set_gate_bias_(layer, suffix, update_gate, _gate_bias(layer.hidden_size, bias, max_lag))


def check_gate_bias(call: str, **arguments: object) -> None:
    """Raise unless every argument is the bias of a gate: a finite number, `"chrono"`, or `None`."""
    for name, value in arguments.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        rule = f"{name} must be a finite number or 'chrono'"
        check_rule(f"{call}({name}={value!r})", rule, holds=value is None or value == "chrono" or is_number)


def _gate_bias(hidden_size: int, bias: float | Literal["chrono"], max_lag: int | None) -> Tensor:
    return chrono_bias(hidden_size, max_lag) if bias == "chrono" else torch.full((hidden_size,), float(bias))


def _set_gate_bias_(layer: nn.RNNBase, suffix: str, gate: int, values: Tensor) -> None:
    rows = slice(gate * layer.hidden_size, (gate + 1) * layer.hidden_size)
    layer.get_parameter(f"bias_ih{suffix}")[rows] = values
    layer.get_parameter(f"bias_hh{suffix}")[rows] = 0.0


def _suffixes(layer: nn.RNNBase) -> Iterator[str]:
    """The suffixes of the parameter names of each depth and direction: `_l0`, `_l0_reverse`, …."""
    return (name.removeprefix("weight_hh") for name, _ in layer.named_parameters() if name.startswith("weight_hh"))
