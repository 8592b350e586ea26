"""`recurrent_layer` and `start_gates_`: RNN, LSTM and GRU under one name each."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import nn

from lightning_clip._checks import check_choice, check_rule
from lightning_clip.modules.layers.initialization import set_forget_bias_, set_update_bias_
from lightning_clip.modules.layers.layer_norm_rnn import LayerNormRNN

CellName = Literal["rnn", "lstm", "gru", "layer_norm_rnn"]
LAYERS: dict[str, Callable[..., nn.RNNBase]] = {
    "rnn": nn.RNN,
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "layer_norm_rnn": LayerNormRNN,
}


def recurrent_layer(name: str, cell: CellName, nonlinearity: Literal["tanh", "relu"]) -> Callable[..., nn.RNNBase]:
    """What makes the recurrent layers.

    Args:
        name: Who asks, for the messages.
        cell: Which kind.
        nonlinearity: Of a plain RNN.

    Returns:
        The class of the layers, or the class with its nonlinearity.

    Raises:
        ValueError: There is no such kind, or it has no such nonlinearity.
    """
    check_choice(name, LAYERS, cell=cell)
    check_choice(name, ("tanh", "relu"), nonlinearity=nonlinearity)
    call = f"{name}(cell={cell!r}, nonlinearity={nonlinearity!r})"
    check_rule(call, "only cell='rnn' has a nonlinearity to choose", holds=cell == "rnn" or nonlinearity == "tanh")
    return partial(nn.RNN, nonlinearity=nonlinearity) if cell == "rnn" else LAYERS[cell]


def start_gates_(
    name: str, layer: nn.RNNBase, forget_bias: float | Literal["chrono"] | None, max_lag: int | None
) -> None:
    """Set the bias that decides how long a layer remembers before it has learnt, in place.

    Args:
        name: Who asks, for the messages.
        layer: Its forget gates (LSTM) or update gates (GRU) are set.
        forget_bias: A number, `"chrono"`, or `None` to leave them.
        max_lag: The longest lag to remember, in steps, for `"chrono"`.

    Raises:
        ValueError: The layer has no gates, or `"chrono"` lacks `max_lag`.
    """
    if forget_bias is None:
        return
    call = f"{name}(cell='rnn', forget_bias={forget_bias!r})"
    check_rule(call, "a plain RNN has no gates; use cell='lstm' or cell='gru'", holds=not isinstance(layer, nn.RNN))
    if isinstance(layer, nn.LSTM):
        set_forget_bias_(layer, forget_bias, max_lag=max_lag)
    elif isinstance(layer, nn.GRU):
        set_update_bias_(layer, forget_bias, max_lag=max_lag)
