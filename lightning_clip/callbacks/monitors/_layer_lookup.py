"""Finds the recurrent layer that `TemporalGradientMonitor` measures, and captures the inputs of its calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from lightning_clip._checks import did_you_mean
from lightning_clip.core.names import plain_name
from lightning_clip.functional.gradient_flow import run_layer
from lightning_clip.functional.sharded import is_sharded

_STOCK = (nn.RNN, nn.LSTM, nn.GRU)
_TOLERANCE = 0.02  # allows for half precision; a layer that computes something else differs by far more


def check_layer(callback: str, module: nn.Module, name: str | None) -> None:
    """Raise, before training, if the layer to measure cannot exist.

    Args:
        callback: The name of the callback, quoted in error messages.
        module: The module being trained.
        name: The dotted name of the layer; `None` if none was named.

    Raises:
        MisconfigurationException: The named layer does not exist, or the module calls cells step by step instead.
    """
    layers = _layers(module)
    cells = [(path, one) for path, one in module.named_modules() if isinstance(one, nn.RNNCellBase)]
    if cells and not layers:
        path, cell = cells[0]
        kind = type(cell).__name__
        raise MisconfigurationException(
            f"{_call(callback, name)}: {type(module).__name__} calls {plain_name(path)!r} ({kind}) step by step, and "
            "only layers can be measured. Use nn.RNN, nn.LSTM or nn.GRU, or remove the callback."
        )
    if name is not None:
        _check_any(_call(callback, name), module)
        if name not in layers:
            found = _listed(layers) + (did_you_mean(name, layers) or ".")
            raise MisconfigurationException(
                f"{_call(callback, name)}: {type(module).__name__} has no such recurrent layer; it has {found}"
            )


def find_recurrent_layer(callback: str, module: nn.Module, name: str | None) -> tuple[str, nn.RNNBase]:
    """Find the recurrent layer to measure in a module.

    Args:
        callback: The name of the callback, quoted in error messages.
        module: The module being trained.
        name: The dotted name of the layer; `None` if the module has only one.

    Returns:
        The name of the layer, and the layer.

    Raises:
        MisconfigurationException: The module has no recurrent layer, has several and none was named, or has one whose
            gradient flow cannot be measured.
    """
    layers, call = _layers(module), _call(callback, name)
    check_layer(callback, module, name)
    _check_any(call, module)
    if name is None and len(layers) > 1:
        raise MisconfigurationException(
            f"{call}: {type(module).__name__} has {len(layers)} recurrent layers: {_listed(layers)}. Name one of them: "
            f"{callback}(layer={next(iter(layers))!r})."
        )
    name = next(iter(layers)) if name is None else name
    _check(call, name, layers[name])
    return name, layers[name]


def _call(callback: str, name: str | None) -> str:
    return f"{callback}(layer={name!r})" if name is not None else f"{callback}()"


def _layers(module: nn.Module) -> dict[str, nn.RNNBase]:
    return {plain_name(f"{path}.")[:-1]: one for path, one in module.named_modules() if isinstance(one, nn.RNNBase)}


def _listed(layers: Mapping[str, nn.RNNBase]) -> str:
    return ", ".join(repr(path) for path in layers)


def _check_any(call: str, module: nn.Module) -> None:
    if not _layers(module):
        raise MisconfigurationException(
            f"{call}: {type(module).__name__} has no nn.RNN, nn.LSTM or nn.GRU. Remove the callback, or use such a "
            "layer."
        )


def _check(call: str, name: str, layer: nn.RNNBase) -> None:
    what = f"{call}: {name!r} ({type(layer).__name__})"
    if layer.bidirectional:
        raise MisconfigurationException(
            f"{what} is bidirectional: its last output depends on the whole sequence at once, so lags are not defined. "
            "Name a layer with bidirectional=False, or remove the callback."
        )
    if any(is_sharded(weight) for weight in layer.parameters()):
        raise MisconfigurationException(
            f"{what} has sharded weights, and no process holds all of them. Leave this layer out of fully_shard, or "
            "remove the callback."
        )
    if type(layer).forward not in [stock.forward for stock in _STOCK] and not _runs_like_stock(layer):
        raise MisconfigurationException(
            f"{what} does not compute the same outputs as torch's layer with its weights, so its gradient flow cannot "
            "be measured. Name an nn.RNN, nn.LSTM or nn.GRU, or remove the callback."
        )


@torch.no_grad()
def _runs_like_stock(layer: nn.RNNBase) -> bool:
    """Return whether a layer that overrides `forward` computes the same as torch's layer, on a few steps."""
    weight = next(layer.parameters())
    inputs = torch.randn(3, 2, layer.input_size, generator=torch.Generator().manual_seed(0)).to(weight)
    is_training = {module: module.training for module in layer.modules()}
    layer.eval()
    try:
        with torch.random.fork_rng([weight.device] if weight.is_cuda else []):  # a `forward` may draw random numbers
            output: Any = layer.forward(inputs.transpose(0, 1) if layer.batch_first else inputs)
    finally:
        for module, mode in is_training.items():
            module.training = mode
    computed = output[0].transpose(0, 1) if layer.batch_first else output[0]
    return torch.allclose(computed.float(), run_layer(layer, inputs)[0].float(), atol=_TOLERANCE)


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
    def _of_packed(
        cls, packed: PackedSequence, state: tuple[Tensor, ...] | None, rows: int, at_least: int
    ) -> "LayerCall":
        inputs, lengths = pad_packed_sequence(packed._replace(data=packed.data.detach()))
        enough = max(1, int((lengths >= at_least).sum()))  # the lengths are on the CPU
        longest = lengths.topk(min(rows, enough))
        chosen = longest.indices.to(inputs.device)
        state = None if state is None else tuple(part.detach().index_select(1, chosen) for part in state)
        return cls(inputs[: int(longest.values.min())].index_select(1, chosen), state)
