"""`Snapshot`: a copy of the training state in host memory."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Protocol
from weakref import ref

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.norms import local_values


class Stateful(Protocol):
    """Any object whose state can be saved and restored: a module, an optimizer, a scheduler, a strategy."""

    def state_dict(self) -> Any:
        """Return the state."""

    def load_state_dict(self, state_dict: Any) -> Any:
        """Restore a state."""


class Snapshot:
    """Copies of the states of several objects, kept on the CPU.

    Of a network, all parameters and buffers are copied by name, because its `state_dict` may leave some out, or rename
    them. Of a sharded tensor, the part on this process is copied.

    Args:
        parts: The objects whose state is copied.
        step: The number of optimizer steps completed.

    Attributes:
        step: The number of optimizer steps completed.

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> snapshot = Snapshot([layer], step=7)
        >>> _ = layer.weight.data.fill_(torch.nan)
        >>> snapshot.restore([layer])
        >>> bool(layer.weight.isfinite())
        True
    """

    def __init__(self, parts: Iterable[Stateful], *, step: int) -> None:
        self.step = step
        self._saved = [(ref(part), _structure(part), _state_of(part)) for part in parts]

    def fits(self, parts: Sequence[Stateful]) -> bool:
        """Return whether these are the objects that were copied, and their optimizers have the same parameters."""
        return len(parts) == len(self._saved) and all(
            saved() is part and structure == _structure(part)
            for part, (saved, structure, _) in zip(parts, self._saved, strict=True)
        )

    def holds(self, part: Stateful) -> bool:
        """Return whether this object was copied."""
        return self._state(part) is not None

    def restore(self, parts: Iterable[Stateful]) -> None:
        """Restore the states of the objects that were copied; others are left as they are.

        An optimizer may have received parameters since. These start without optimizer state, at their own learning
        rate.

        Args:
            parts: The objects, in any order.
        """
        for part in parts:
            state = self._state(part)
            if state is None:
                continue
            if isinstance(part, Optimizer):
                part.load_state_dict(_adapted(part, state))
            elif _is_network(part):
                _write(part, state, state)
            else:
                part.load_state_dict(_copied(state))

    def restore_tensors(self, parts: Iterable[Stateful], names: Collection[tuple[int, str]]) -> None:
        """Restore only some tensors of the networks among the parts.

        Args:
            parts: The objects.
            names: The tensors, as `non_finite_tensors` returns them.
        """
        for index, part in enumerate(parts):
            state = self._state(part)
            if state is not None and _is_network(part):
                _write(part, state, {name for at, name in names if at == index})

    def _state(self, part: Stateful) -> Any:
        return next((state for saved, _, state in self._saved if saved() is part), None)


def non_finite_tensors(parts: Iterable[Stateful]) -> set[tuple[int, str]]:
    """Find the parameters and buffers that contain NaN or infinity; reads the device once.

    Args:
        parts: The objects in a snapshot; only networks are searched.

    Returns:
        The position of the network among the parts, and the name, of each such tensor.
    """
    flags: dict[tuple[int, str], Tensor] = {}
    for index, part in enumerate(parts):
        for name, tensor in _tensors_of(part).items() if _is_network(part) else ():
            if tensor.is_floating_point() or tensor.is_complex():
                flags[index, name] = tensor.isfinite().all()
    if not flags:
        return set()
    device = next(iter(flags.values())).device
    finite = torch.stack([flag.to(device) for flag in flags.values()]).tolist()
    return {key for key, is_finite in zip(flags, finite, strict=True) if not is_finite}


def cloned(state: Any) -> Any:
    """Copy the tensors of a nested state, on their own devices."""
    return _mapped(lambda tensor: tensor.detach().clone(), state)


def trained_names(module: nn.Module) -> set[str]:
    """Return the names of the parameters that are trained."""
    return {name for name, param in module.named_parameters() if param.requires_grad}


def _is_network(part: Any) -> bool:
    return isinstance(part, nn.Module) and not isinstance(part, ClipStrategy)


def _structure(part: Stateful) -> tuple[int, ...]:
    return tuple(len(group["params"]) for group in part.param_groups) if isinstance(part, Optimizer) else ()


def _state_of(part: Stateful) -> Any:
    if isinstance(part, Optimizer):
        packed = part.state_dict()
        ids = {index: param_id for param_id, index in _positions(part, packed).items()}
        return {"packed": _copied(packed), "ids": ids}
    return _copied(_tensors_of(part) if _is_network(part) else part.state_dict())


def _tensors_of(module: Any) -> dict[str, Tensor]:
    named = dict(module.named_parameters()) | dict(module.named_buffers())
    return {name: local_values(tensor.detach()) for name, tensor in named.items() if not is_lazy(tensor)}


@torch.no_grad()
def _write(module: Any, saved: dict[str, Tensor], names: Collection[str]) -> None:
    """Copy saved values into a module's tensors, in place."""
    for name, tensor in _tensors_of(module).items():
        if name in names and name in saved and saved[name].shape == tensor.shape:
            tensor.copy_(saved[name])


def _positions(optimizer: Optimizer, packed: dict[str, Any]) -> dict[int, int]:
    """The index of each parameter in the optimizer's packed state, by `id`."""
    pairs = zip(optimizer.param_groups, packed["param_groups"], strict=True)
    return {id(p): index for group, shown in pairs for p, index in zip(group["params"], shown["params"], strict=True)}


def _adapted(optimizer: Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
    """A saved state for an optimizer whose parameters or groups may have changed since."""
    old, ids, now = _copied(saved["packed"]), saved["ids"], optimizer.state_dict()
    position = _positions(optimizer, now)
    index = {key: position.get(ids[key]) if key in ids else key for key in [*ids, *old["state"]]}
    state = {index[key]: value for key, value in old["state"].items() if index[key] is not None}
    group_of = {index[key]: group for group in old["param_groups"] for key in group["params"]}
    groups = []
    for group in now["param_groups"]:
        known = next((group_of[key] for key in group["params"] if key in group_of), group)
        groups.append({**group, **known, "params": group["params"]})
    return {**old, "state": state, "param_groups": groups}


def _copied(state: Any) -> Any:
    return _mapped(lambda tensor: tensor.detach().to("cpu", copy=True), state)


def _mapped(function: Any, state: Any) -> Any:
    if isinstance(state, Tensor):
        return function(state)
    if isinstance(state, dict):
        return {key: _mapped(function, value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        values = [_mapped(function, value) for value in state]
        return type(state)(*values) if hasattr(state, "_fields") else type(state)(values)
    return state
