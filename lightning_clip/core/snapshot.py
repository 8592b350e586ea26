"""`Snapshot`: a copy of the training state in host memory."""

from collections.abc import Iterable
from typing import Any, Protocol

from torch import Tensor


class Stateful(Protocol):
    """Any object whose state can be saved and restored: a module, an optimizer, a scheduler, a strategy."""

    def state_dict(self) -> Any:
        """Return the state."""

    def load_state_dict(self, state_dict: Any) -> Any:
        """Restore a state."""


class Snapshot:
    """Copies of the states of several objects, kept on the CPU.

    Args:
        parts: The objects whose state is copied.
        step: The number of optimizer steps completed.

    Attributes:
        step: The number of optimizer steps completed.
        states: The copied states, in order.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(1, 1)
        >>> snapshot = Snapshot([layer], step=7)
        >>> _ = layer.weight.data.fill_(torch.nan)
        >>> snapshot.restore([layer])
        >>> bool(layer.weight.isfinite())
        True
    """

    def __init__(self, parts: Iterable[Stateful], *, step: int) -> None:
        self.step = step
        self.states = [_copied(part.state_dict()) for part in parts]

    def restore(self, parts: Iterable[Stateful]) -> None:
        """Restore the states.

        Args:
            parts: The objects passed to the constructor, or equal ones, in the same order.
        """
        for part, state in zip(parts, self.states, strict=True):
            part.load_state_dict(_copied(state))


def is_finite(state: Any) -> bool:
    """Return whether all floating-point tensors in a nested state are finite; reads the device."""
    if isinstance(state, Tensor):
        return not state.is_floating_point() or bool(state.isfinite().all())
    if isinstance(state, dict):
        return all(is_finite(value) for value in state.values())
    return not isinstance(state, list | tuple) or all(is_finite(value) for value in state)


def _copied(state: Any) -> Any:
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: _copied(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_copied(value) for value in state)
    return state
