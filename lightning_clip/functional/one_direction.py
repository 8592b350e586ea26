"""Layers of torch with given weights: one direction of a bidirectional layer, or a cell that is called in a loop."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

_KINDS: dict[str, Any] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN_TANH": nn.RNN, "RNN_RELU": nn.RNN}


def layer_with(mode: str, weights: Sequence[Tensor], *, hidden_size: int, proj_size: int = 0) -> nn.RNNBase:
    """Return a layer of one direction and depth one that computes with given weights, without copying them.

    Args:
        mode: The `mode` of torch's layer: `"LSTM"`, `"GRU"`, `"RNN_TANH"` or `"RNN_RELU"`.
        weights: `weight_ih`, `weight_hh`, then `bias_ih` and `bias_hh` if there are biases, then `weight_hr` if there
            is a projection.
        hidden_size: The number of units.
        proj_size: The size of the projection of an LSTM; 0 for none.

    Returns:
        The layer, for `gradient_flow` and `run_layer`; it has no parameters of its own.

    Example:
        >>> cell = nn.GRUCell(3, 4)
        >>> layer_with("GRU", list(cell.parameters()), hidden_size=4)
        GRU(3, 4)
    """
    options: dict[str, Any] = {"nonlinearity": mode.removeprefix("RNN_").lower()} if mode.startswith("RNN") else {}
    options |= {"proj_size": proj_size} if proj_size else {}
    has_bias = len(weights) - bool(proj_size) > 2
    layer: nn.RNNBase = _KINDS[mode](weights[0].shape[1], hidden_size, bias=has_bias, device="meta", **options)
    layer._flat_weights = list(weights)
    return layer


def directions_of(layer: nn.RNNBase) -> list[nn.RNNBase]:
    """Return the two directions of a bidirectional layer, of the first of its stacked layers.

    Higher ones read both directions of the one below, so no gradient in them belongs to one direction.

    Args:
        layer: A bidirectional `nn.RNN`, `nn.LSTM` or `nn.GRU`.

    Returns:
        The forward direction, then the backward one, which reads the sequence from its end.
    """
    weights = [weight for weight in layer._flat_weights if weight is not None]
    each = len(weights) // (2 * layer.num_layers)
    parts = [weights[:each], weights[each : 2 * each]]
    return [layer_with(layer.mode, part, hidden_size=layer.hidden_size, proj_size=layer.proj_size) for part in parts]


def layer_of_cell(cell: nn.RNNCellBase) -> nn.RNNBase:
    """Return a layer that computes what a cell computes in a loop over the steps.

    Args:
        cell: An `nn.RNNCell`, `nn.LSTMCell` or `nn.GRUCell`.
    """
    mode = {nn.LSTMCell: "LSTM", nn.GRUCell: "GRU"}.get(type(cell)) or f"RNN_{str(cell.nonlinearity).upper()}"
    weights = [weight for weight in (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh) if weight is not None]
    return layer_with(mode, weights, hidden_size=cell.hidden_size)
