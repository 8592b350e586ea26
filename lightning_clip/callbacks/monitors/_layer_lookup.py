"""Finds what `TemporalGradientMonitor` measures in a module, and says why it leaves a layer out."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import nn

from lightning_clip._checks import did_you_mean
from lightning_clip.callbacks.monitors._targets import ModuleTarget, RecurrentTarget, Target
from lightning_clip.core.names import plain_name
from lightning_clip.functional.gradient_flow import run_layer
from lightning_clip.functional.sharded import is_sharded

_STOCK = (nn.RNN, nn.LSTM, nn.GRU)
_CELLS = (nn.RNNCell, nn.LSTMCell, nn.GRUCell)
_TOLERANCE = 0.02  # allows for half precision; a layer that computes something else differs by far more


def check_layer(callback: str, module: nn.Module, name: str | None) -> None:
    """Raise, before training, if the layer to measure cannot exist.

    Args:
        callback: The name of the callback, quoted in error messages.
        module: The module being trained.
        name: The dotted name of the layer or other module; `None` if none was named.

    Raises:
        MisconfigurationException: The named layer does not exist.
    """
    if name is None or name in _modules(module):
        return
    _check_any(_call(callback, name), module)
    layers = _layers(module)
    found = _listed(layers) + (did_you_mean(name, layers) or ".")
    raise MisconfigurationException(
        f"{_call(callback, name)}: {type(module).__name__} has no such recurrent layer; it has {found}"
    )


def find_targets(callback: str, module: nn.Module, name: str | None) -> tuple[list[Target], list[str]]:
    """Find what to measure in a module.

    Args:
        callback: The name of the callback, quoted in error messages.
        module: The module being trained.
        name: The dotted name of a recurrent layer, or of any module with a time axis; `None` for every recurrent layer
            and cell.

    Returns:
        What to measure, and the reasons for leaving out other layers.

    Raises:
        MisconfigurationException: The module has no recurrent layer, or none that can be measured.
    """
    layers, call = _layers(module), _call(callback, name)
    check_layer(callback, module, name)
    if name is not None and name not in layers:
        return [ModuleTarget(name, _modules(module)[name])], []
    _check_any(call, module)
    chosen = layers if name is None else {name: layers[name]}
    reasons = {path: _reason_against(f"{call}: {path!r} ({type(one).__name__})", one) for path, one in chosen.items()}
    told = [reason for reason in reasons.values() if reason is not None]
    targets: list[Target] = [RecurrentTarget(path, one) for path, one in chosen.items() if reasons[path] is None]
    if not targets:
        raise MisconfigurationException(told[0])
    return targets, told


def _call(callback: str, name: str | None) -> str:
    return f"{callback}(layer={name!r})" if name is not None else f"{callback}()"


def _modules(module: nn.Module) -> dict[str, nn.Module]:
    return {plain_name(f"{path}.")[:-1]: one for path, one in module.named_modules() if path}


def _layers(module: nn.Module) -> dict[str, nn.Module]:
    return {path: one for path, one in _modules(module).items() if isinstance(one, nn.RNNBase | nn.RNNCellBase)}


def _listed(layers: Mapping[str, nn.Module]) -> str:
    return ", ".join(repr(path) for path in layers)


def _check_any(call: str, module: nn.Module) -> None:
    if not _layers(module):
        raise MisconfigurationException(
            f"{call}: {type(module).__name__} has no nn.RNN, nn.LSTM or nn.GRU, and no cell of these. Name a module "
            "with a time axis, from (batch, steps, …) to (batch, steps, …), or remove the callback."
        )


def _reason_against(what: str, layer: nn.Module) -> str | None:
    """Why the gradient flow of a layer cannot be measured; `None` if it can."""
    if any(is_sharded(weight) for weight in layer.parameters()):
        return (
            f"{what} has sharded weights, and no process holds all of them. Leave this layer out of fully_shard, or "
            "remove the callback."
        )
    own = type(layer).forward in [stock.forward for stock in (*_STOCK, *_CELLS)]
    if not own and not (isinstance(layer, nn.RNNBase) and not layer.bidirectional and _runs_like_stock(layer)):
        return (
            f"{what} does not compute the same outputs as torch's layer with its weights, so its gradient flow cannot "
            "be measured. Name an nn.RNN, nn.LSTM or nn.GRU, or the module that contains it, or remove the callback."
        )
    return None


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
