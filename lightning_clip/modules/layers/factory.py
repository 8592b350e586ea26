"""Recurrent layers by name (`recurrent_layer`), and the initial bias of their gates (`start_gates_`)."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import nn

from lightning_clip._checks import check_choice, check_rule
from lightning_clip.modules.layers.initialization import check_gate_bias, set_forget_bias_, set_update_bias_
from lightning_clip.modules.layers.layer_norm_rnn import LayerNormRNN

CellName = Literal["rnn", "lstm", "gru", "layer_norm_rnn"]
LAYERS: dict[str, Callable[..., nn.RNNBase]] = {
    "rnn": nn.RNN,
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "layer_norm_rnn": LayerNormRNN,
}


def recurrent_layer(name: str, cell: CellName, nonlinearity: Literal["tanh", "relu"]) -> Callable[..., nn.RNNBase]:
    """Look up the class of a recurrent layer.

    Args:
        name: Name of the calling class, for error messages.
        cell: Type of the layer.
        nonlinearity: Nonlinearity of a plain RNN.

    Returns:
        The class of the layer, for a plain RNN with its nonlinearity bound.

    Raises:
        ArgumentError: `cell` or `nonlinearity` is unknown, or `nonlinearity` is set for another type.
    """
    check_choice(name, LAYERS, cell=cell)
    check_choice(name, ("tanh", "relu"), nonlinearity=nonlinearity)
    call = f"{name}(cell={cell!r}, nonlinearity={nonlinearity!r})"
    check_rule(call, "nonlinearity applies only to cell='rnn'", holds=cell == "rnn" or nonlinearity == "tanh")
    return partial(nn.RNN, nonlinearity=nonlinearity) if cell == "rnn" else LAYERS[cell]


def start_gates_(
    name: str, layer: nn.RNNBase, forget_bias: float | Literal["chrono"] | None, max_lag: int | None
) -> None:
    """Set the bias of the forget gates (LSTM) or update gates (GRU), in place. It sets the initial memory of a layer.

    Args:
        name: Name of the calling class, for error messages.
        layer: The layer to change.
        forget_bias: A number for all units, `"chrono"`, or `None` to leave the layer unchanged.
        max_lag: Longest lag to remember, in time steps; required by `"chrono"`.

    Raises:
        ArgumentError: The layer has no gates, or `"chrono"` is given without `max_lag`.
    """
    if forget_bias is None:
        return
    check_gate_bias(name, forget_bias=forget_bias)
    call = f"{name}(cell='rnn', forget_bias={forget_bias!r})"
    check_rule(call, "a plain RNN has no gates; use cell='lstm' or cell='gru'", holds=not isinstance(layer, nn.RNN))
    if isinstance(layer, nn.LSTM):
        set_forget_bias_(layer, forget_bias, max_lag=max_lag)
    elif isinstance(layer, nn.GRU):
        set_update_bias_(layer, forget_bias, max_lag=max_lag)
