"""The recurrent layer that a monitor measures: which one it is, and what it was called with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from lightning_clip.core.names import plain_name
from lightning_clip.functional.gradient_flow import run_layer
from lightning_clip.functional.sharded import is_sharded

_STOCK = (nn.RNN, nn.LSTM, nn.GRU)
_TOLERANCE = 0.02  # half precision on one side; another computation differs by far more


def find_recurrent_layer(callback: str, module: nn.Module, name: str | None) -> tuple[str, nn.RNNBase]:
    """Look for the recurrent layer of a module.

    Args:
        callback: Who asks, for the messages.
        module: The module that is trained.
        name: Dotted name of the layer; `None` where there is only one.

    Returns:
        Its name and the layer.

    Raises:
        MisconfigurationException: There is none, there are several to choose from, or it is one whose gradient flow
            cannot be measured.
    """
    layers = {plain_name(f"{path}.")[:-1]: one for path, one in module.named_modules() if isinstance(one, nn.RNNBase)}
    call = f"{callback}(layer={name!r})" if name is not None else f"{callback}()"
    model = type(module).__name__
    if not layers:
        raise MisconfigurationException(
            f"{call}: {model} has no nn.RNN, nn.LSTM or nn.GRU. Remove the callback, or use such a layer."
        )
    listed = ", ".join(repr(path) for path in layers)
    if name is None and len(layers) > 1:
        raise MisconfigurationException(
            f"{call}: {model} has {len(layers)} recurrent layers: {listed}. Name one of them: "
            f"{callback}(layer={next(iter(layers))!r})."
        )
    name = next(iter(layers)) if name is None else name
    if name not in layers:
        raise MisconfigurationException(f"{call}: {model} has no such recurrent layer, but {listed}.")
    _check(call, name, layers[name])
    return name, layers[name]


def _check(call: str, name: str, layer: nn.RNNBase) -> None:
    what = f"{call}: {name!r} ({type(layer).__name__})"
    if layer.bidirectional:
        raise MisconfigurationException(
            f"{what} reads in both directions, so that its last step sees the whole sequence at once: there is no lag. "
            "Name a layer with bidirectional=False, or remove the callback."
        )
    if any(is_sharded(weight) for weight in layer.parameters()):
        raise MisconfigurationException(
            f"{what} has sharded weights, which no process holds whole. Leave this layer out of fully_shard, or remove "
            "the callback."
        )
    if type(layer).forward not in [stock.forward for stock in _STOCK] and not _runs_like_stock(layer):
        raise MisconfigurationException(
            f"{what} does not compute what torch's layer does with its weights, so that its gradient flow would be "
            "that of another layer. Name an nn.RNN, nn.LSTM or nn.GRU, or remove the callback."
        )


@torch.no_grad()
def _runs_like_stock(layer: nn.RNNBase) -> bool:
    """Whether a layer with a forward of its own gives what torch's would, on a few steps."""
    weight = next(layer.parameters())
    inputs = torch.randn(3, 2, layer.input_size, generator=torch.Generator().manual_seed(0)).to(weight)
    is_training = {module: module.training for module in layer.modules()}
    layer.eval()
    try:
        output: Any = layer.forward(inputs.transpose(0, 1) if layer.batch_first else inputs)
    finally:
        for module, mode in is_training.items():
            module.training = mode
    theirs = output[0].transpose(0, 1) if layer.batch_first else output[0]
    return torch.allclose(theirs.float(), run_layer(layer, inputs)[0].float(), atol=_TOLERANCE)


@dataclass(frozen=True, slots=True)
class LayerCall:
    """What a recurrent layer was given in one call, apart from any graph.

    Attributes:
        inputs: `(steps, rows, input_size)`.
        hiddens: The state before the first step, `(num_layers, rows, …)` each; `None` for zeros.
    """

    inputs: Tensor
    hiddens: tuple[Tensor, ...] | None

    @classmethod
    def of(cls, layer: nn.RNNBase, args: Sequence[Any], kwargs: Mapping[str, Any], *, rows: int) -> "LayerCall":
        """Take some rows of what `layer(*args, **kwargs)` was given.

        Of a packed batch these are the longest rows, up to the last step of the shortest among them.

        Args:
            layer: The layer.
            args: Its positional arguments.
            kwargs: Its keyword arguments.
            rows: How many rows at most.

        Returns:
            The call.
        """
        inputs = args[0] if args else kwargs["input"]
        hiddens = args[1] if len(args) > 1 else kwargs.get("hx")
        state = None if hiddens is None else tuple((hiddens,) if isinstance(hiddens, Tensor) else hiddens)
        if isinstance(inputs, PackedSequence):
            return cls._of_packed(inputs, state, rows)
        if inputs.dim() == 2:
            inputs, state = inputs.unsqueeze(1), None if state is None else tuple(part.unsqueeze(1) for part in state)
        elif layer.batch_first:
            inputs = inputs.transpose(0, 1)
        state = None if state is None else tuple(part[:, :rows].detach() for part in state)
        return cls(inputs[:, :rows].detach(), state)

    @classmethod
    def _of_packed(cls, packed: PackedSequence, state: tuple[Tensor, ...] | None, rows: int) -> "LayerCall":
        inputs, lengths = pad_packed_sequence(packed._replace(data=packed.data.detach()))
        longest = lengths.topk(min(rows, len(lengths)))
        chosen = longest.indices.to(inputs.device)
        state = None if state is None else tuple(part.detach().index_select(1, chosen) for part in state)
        return cls(inputs[: int(longest.values.min())].index_select(1, chosen), state)
