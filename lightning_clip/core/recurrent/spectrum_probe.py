"""`SpectrumProbe`: measures the weights, units and gradients of recurrent layers during one training batch."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.hooks import RemovableHandle

from lightning_clip.core.recurrent.layer import RecurrentLayer
from lightning_clip.core.recurrent.rows import first_rows
from lightning_clip.core.recurrent.spectrum import SHARES, Data
from lightning_clip.functional.spectral import largest_singular_value, spectral_radius
from lightning_clip.functional.unit_states import denormal_fraction


class SpectrumProbe:
    """Measures recurrent layers from the start to the end of one batch, without changing any number of the training.

    Args:
        layers: The layers to measure.
        rows: The number of sequences of the batch for which gates and lower layers are recomputed.
        exact_up_to: The size of the largest matrix whose eigenvalues are computed exactly, on the CPU.
        guard: Returns the context in which hooks measure; it may swallow an error, so that none reaches the training.

    Attributes:
        vectors: The vectors from which the next power iterations start, by layer name.
    """

    def __init__(
        self,
        layers: Sequence[RecurrentLayer],
        *,
        rows: int,
        exact_up_to: int,
        guard: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.layers = layers
        self.vectors: dict[str, Tensor] = {}
        self._rows = rows
        self._exact_up_to = exact_up_to
        self._guard = guard
        self._handles: list[RemovableHandle] = []
        self._spectra: list[tuple[Tensor, Tensor]] = []
        self._shares: dict[str, list[dict[str, Tensor]]] = {}
        self._denormal: dict[str, Tensor] = {}

    def arm(self) -> None:
        """Measure the weights, and register hooks that measure the layers when they run."""
        self.disarm()
        self._spectra = [self._spectrum(layer) for layer in self.layers]
        for layer in self.layers:
            before, after = partial(self._before, layer), partial(self._after, layer)
            self._handles += [
                layer.module.register_forward_pre_hook(before, with_kwargs=True),
                layer.module.register_forward_hook(after, with_kwargs=True),
            ]

    def disarm(self) -> None:
        """Remove the hooks and discard what was measured."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._spectra, self._shares, self._denormal = [], {}, {}

    def read(self) -> Data:
        """Return what was measured since `arm`, with one read of the device.

        Returns:
            Per block of recurrent weights: `weights` (the parameter), `gates`, `cells`, `bounds` (NaN for none),
            `sigma_max` and `spectral_radius`. Per parameter: `units` (the parameter) and the statistics named in
            `SHARES`. Per layer: `layers` (its name) and `denormal_fraction` of the gradient at its input. Also the
            `device`.
        """
        blocks = [block for layer in self.layers for block in layer.block_names()]
        names, gates, cells, bounds = (list(column) for column in zip(*blocks, strict=True))
        units = [unit for layer in self.layers for unit in self._shares.get(layer.name, [{}] * len(layer.suffixes))]
        found: dict[str, list[Tensor | None]] = {
            "sigma_max": [value for values, _ in self._spectra for value in values.unbind()],
            "spectral_radius": [value for _, values in self._spectra for value in values.unbind()],
            **{name: [unit.get(name) for unit in units] for name in SHARES},
            "denormal_fraction": [self._denormal.get(layer.name) for layer in self.layers],
        }
        words: Data = {
            "device": self._spectra[0][0].device.type,
            "weights": names,
            "gates": gates,
            "cells": cells,
            "bounds": bounds,
            "units": [name for layer in self.layers for name in layer.weight_names],
            "layers": [layer.name for layer in self.layers],
        }
        return words | _read(found)

    def _spectrum(self, layer: RecurrentLayer) -> tuple[Tensor, Tensor]:
        """Return the largest singular value and the spectral radius of each block, both `(blocks,)`."""
        blocks = layer.blocks()
        vectors = self.vectors.get(layer.name)
        values, self.vectors[layer.name] = largest_singular_value(blocks, vectors)
        return values, spectral_radius(blocks, exact_up_to=self._exact_up_to)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # or the compiler would trace into the layer's hooks
    def _before(self, layer: RecurrentLayer, module: nn.Module, args: Any, kwargs: Any) -> Any:
        """Replace the layer's input by an alias, whose gradient is what the layer passes back."""
        with self._guard():
            return self._with_alias(layer, module, args, kwargs)
        return None  # type: ignore[unreachable]  # mypy does not know that the guard swallows errors

    def _with_alias(self, layer: RecurrentLayer, module: nn.Module, args: Any, kwargs: Any) -> Any:
        inputs = args[0] if args else kwargs["input"]
        values = inputs.data if isinstance(inputs, PackedSequence) else inputs
        trains = values.requires_grad or any(parameter.requires_grad for parameter in module.parameters())
        if not trains or not torch.is_grad_enabled():
            return None
        alias = values.view_as(values) if values.requires_grad else values.detach().requires_grad_()
        if layer.name not in self._shares:  # later calls get an alias too: a checkpoint has to recompute the same graph
            alias.register_hook(partial(self._passed_back, layer))
        if isinstance(inputs, PackedSequence):
            alias = PackedSequence(alias, *inputs[1:])
        return ((alias, *args[1:]), kwargs) if args else (args, kwargs | {"input": alias})

    def _passed_back(self, layer: RecurrentLayer, gradient: Tensor) -> None:
        with self._guard():
            self._denormal.setdefault(layer.name, denormal_fraction(gradient))

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def _after(self, layer: RecurrentLayer, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """Measure units and gates while the weights that produced them are unchanged."""
        if layer.name in self._shares:
            return
        with self._guard():
            if not isinstance(output, tuple):  # a user's hook may replace the result
                raise TypeError(f"{layer.name!r} returned {type(output).__name__}, not its outputs and its state")
            inputs, hx = args[0] if args else kwargs["input"], args[1] if len(args) > 1 else kwargs.get("hx")
            outputs = output[0].data if isinstance(output[0], PackedSequence) else output[0].detach().flatten(0, -2)
            kind = outputs.device.type
            with torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():
                rows = first_rows(layer.module, inputs, output[0], hx, self._rows)
                self._shares[layer.name] = layer.shares(outputs, rows)


def _read(found: dict[str, list[Tensor | None]]) -> dict[str, list[float]]:
    """Convert lists of tensors `()` to lists of numbers with one copy from the device; `None` becomes NaN."""
    known = [value for value in chain.from_iterable(found.values()) if value is not None]
    numbers = iter(torch.stack([value.to(known[0].device, torch.float32) for value in known]).tolist())
    return {name: [math.nan if value is None else next(numbers) for value in values] for name, values in found.items()}
