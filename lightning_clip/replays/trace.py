"""Hooks on modules: the first that is NaN or infinite, and the gradient at each time step of recurrent layers."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_clip.replays.split import tensors_of


class NonFinite:
    """The modules with a NaN or infinite output or gradient, in the order in which they appeared.

    Attributes:
        found: The names, each with `"output"` or `"gradient"`.
        is_watching: Whether to look at what passes.
    """

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self.is_watching = True

    def look(self, tensor: Tensor, name: str, what: str) -> None:
        """Note a module if one of its tensors is not finite."""
        if self.is_watching and not bool(tensor.isfinite().all()):
            self.found.append((name, what))


@contextmanager
def first_non_finite(module: nn.Module) -> Iterator[NonFinite]:
    """Watch the modules without children.

    Args:
        module: The module.

    Yields:
        What is found.
    """
    seen = NonFinite()

    def watch(name: str) -> Any:
        def note(layer: nn.Module, args: Any, output: Any) -> None:
            for tensor in tensors_of(output).values() if seen.is_watching else ():
                seen.look(tensor, name, "output")
                if tensor.requires_grad:
                    hook = partial(seen.look, name=name, what="gradient")
                    tensor.register_hook(hook)  # type: ignore[no-untyped-call]

        return note

    leaves = [(name, one) for name, one in module.named_modules() if not any(one.children()) and name]
    handles = [one.register_forward_hook(watch(name)) for name, one in leaves]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def input_gradients(module: nn.Module) -> Iterator[dict[str, list[tuple[Tensor, int]]]]:
    """Make the inputs of recurrent layers keep their gradients.

    Args:
        module: The module.

    Yields:
        For each `nn.RNN`, `nn.LSTM` and `nn.GRU`, the inputs of its calls, with their dimension of time.
    """
    inputs: dict[str, list[tuple[Tensor, int]]] = {}

    def keep(name: str) -> Any:
        def note(layer: Any, args: tuple[Any, ...]) -> Any:
            first = args[0] if args else None
            if not isinstance(first, Tensor) or first.dim() != 3 or not torch.is_grad_enabled():
                return None
            first = first if first.requires_grad else first.detach().clone().requires_grad_()
            first.retain_grad()
            inputs.setdefault(name, []).append((first, 1 if layer.batch_first else 0))
            return (first, *args[1:])

        return note

    layers = [(name, one) for name, one in module.named_modules() if isinstance(one, nn.RNNBase)]
    handles = [one.register_forward_pre_hook(keep(name)) for name, one in layers]
    try:
        yield inputs
    finally:
        for handle in handles:
            handle.remove()


def norms_by_step(inputs: dict[str, list[tuple[Tensor, int]]]) -> dict[str, list[float]]:
    """Return the norm of the gradient at each time step, by layer; the calls of a layer follow each other in time."""
    found: dict[str, list[float]] = {}
    for name, calls in inputs.items():
        norms = [
            torch.linalg.vector_norm(tensor.grad.movedim(dim, 0).flatten(1), dim=1, dtype=torch.float64)
            for tensor, dim in calls
            if tensor.grad is not None
        ]
        if norms:
            found[name] = torch.cat(norms).tolist()
    return found
