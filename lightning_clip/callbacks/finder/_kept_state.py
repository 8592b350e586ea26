"""`KeptState`: what lies outside every `state_dict` and changes in training: plain attributes and random generators."""

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

_Restore = Callable[[], object]


class KeptState:
    """Copies of the plain attributes of modules, and of the positions of data sets, samplers and generators.

    A module may count in an attribute, carry its state from batch to batch, or own a metric of torchmetrics, whose
    values are attributes. Data sets may be large, so of them only numbers and texts are copied.

    Args:
        *roots: Modules, data modules and loaders. What they hold is copied too.
    """

    def __init__(self, *roots: Any) -> None:
        self._restores: list[_Restore] = []
        seen: set[int] = set()
        for root in roots:
            for part in _parts_of(root, seen):
                self._restores += _kept_generators(part)
                self._restores.append(_kept_attributes(part, _plain_copy if isinstance(part, nn.Module) else _scalar))

    def restore(self) -> None:
        """Put everything back; attributes that are new since then and plain are removed."""
        for restore in self._restores:
            restore()


_PARTS = (nn.Module, DataLoader, Sampler, Dataset)
_OF_TORCH = frozenset(vars(nn.Module()))


def _parts_of(value: Any, seen: set[int]) -> Iterator[Any]:
    """An object and what it holds: modules, data modules, loaders, samplers and data sets, each once."""
    if isinstance(value, dict | list | tuple) and len(value) <= _MANY:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _parts_of(item, seen)
    elif id(value) not in seen and (isinstance(value, _PARTS) or hasattr(type(value), "train_dataloader")):
        seen.add(id(value))
        yield value
        for inner in list(getattr(value, "__dict__", {}).values()):
            yield from _parts_of(inner, seen)


_MANY = 1000
"""Longer collections are data."""


def _kept_generators(part: Any) -> Iterator[_Restore]:
    for value in list(getattr(part, "__dict__", {}).values()):
        if isinstance(value, torch.Generator):
            yield partial(value.set_state, value.get_state())
        elif isinstance(value, random.Random):
            yield partial(value.setstate, value.getstate())
        elif isinstance(value, np.random.RandomState):
            yield partial(value.set_state, value.get_state())
        elif isinstance(value, np.random.Generator):
            yield partial(setattr, value.bit_generator, "state", value.bit_generator.state)


class _NotPlainError(Exception):
    """A value is neither plain nor a collection of plain values."""


def _kept_attributes(part: Any, copy: Callable[[Any], Any]) -> _Restore:
    attributes = getattr(part, "__dict__", {})
    kept = {name: copied for name, _, copied in _copies(attributes, copy)}

    def restore() -> None:
        for name, value, _ in list(_copies(attributes, copy)):
            if name not in kept:
                del attributes[name]
            elif _is_same(value, kept[name]):
                kept.pop(name)
        for name, value in kept.items():
            attributes[name] = _refilled(attributes.get(name), copy(value))

    return restore


def _copies(attributes: dict[str, Any], copy: Callable[[Any], Any]) -> Iterator[tuple[str, Any, Any]]:
    for name, value in list(attributes.items()):
        if name not in _OF_TORCH or name == "training":
            try:
                yield name, value, copy(value)
            except _NotPlainError:
                continue


def _scalar(value: Any) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise _NotPlainError


def _plain_copy(value: Any) -> Any:
    if type(value) is Tensor:
        return value.detach().clone().requires_grad_(value.requires_grad)
    if type(value) in (list, tuple, set, deque):
        items = [_plain_copy(item) for item in value]
        return deque(items, value.maxlen) if isinstance(value, deque) else type(value)(items)
    if type(value) in (dict, OrderedDict):
        return type(value)((key, _plain_copy(item)) for key, item in value.items())
    return _scalar(value)


def _is_same(one: Any, other: Any) -> bool:
    return one is other or (type(one) in (bool, int, float, str) and type(one) is type(other) and one == other)


def _refilled(present: Any, value: Any) -> Any:
    """The value, in the present collection if there is one, because others may refer to it."""
    if type(present) is not type(value) or not isinstance(value, list | dict | set | deque):
        return value
    present.clear()
    present.extend(value) if isinstance(value, list | deque) else present.update(value)
    return present
