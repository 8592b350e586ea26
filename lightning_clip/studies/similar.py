"""Suggestions for the names of classes and arguments in a configuration that do not exist."""

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.loggers import Logger
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_clip._checks import did_you_mean, subclasses
from lightning_clip.core.strategy import ClipStrategy

__all__ = ["with_suggestion"]

_BASES: tuple[type, ...] = (
    ClipStrategy,
    LightningModule,
    LightningDataModule,
    Callback,
    Optimizer,
    LRScheduler,
    Logger,
)
_SINKS = ("JsonlSink", "CsvSink")
_NO_CLASS = re.compile(r"there is no class '(?:[\w.]+\.)?(\w+)'|has no attribute '(\w+)'")
_NO_OPTION = re.compile(r"Option '(\w+)' is not accepted")


def with_suggestion(line: str, config: Any = None, *bases: type) -> str:
    """Add to an error message the class or argument that was probably meant.

    Args:
        line: The message, in one line.
        config: The configuration that it is about: its classes are searched for similar arguments. If `None`, those of
            all classes are.
        *bases: Further classes whose subclasses may have been meant.

    Returns:
        The message, with a question at its end if there is a similar name.

    Example:
        >>> with_suggestion("model: there is no class 'MLPRegresor'")
        "model: there is no class 'MLPRegresor'; did you mean 'MLPRegressor'?"
    """
    if found := _NO_CLASS.search(line):
        name = found[1] or found[2]
        if name in _SINKS and "there is no class" in line:
            return f"{line}; did you mean 'lightning_clip.{name}'?"  # a protocol has no subclasses to find them by
        return line + did_you_mean(name, sorted({*_SINKS, *_classes(bases)}))
    if found := _NO_OPTION.search(line):
        known = _classes(bases)
        named = [known[name] for name in _named(config) if name in known] or list(known.values())
        return line + did_you_mean(found[1], dict.fromkeys(name for kind in named for name in _arguments(kind)))
    return line


def _classes(bases: Sequence[type]) -> dict[str, type]:
    every = (*_BASES, *bases)
    return {kind.__name__: kind for base in every for kind in subclasses(base) if not kind.__name__.startswith("_")}


def _named(config: Any) -> Iterator[str]:
    """The names of the classes in a configuration, at any depth."""
    if isinstance(config, dict):
        if isinstance(path := config.get("class_path"), str):
            yield path.rpartition(".")[2]
        for value in config.values():
            yield from _named(value)
    elif isinstance(config, list):
        for value in config:
            yield from _named(value)


def _arguments(kind: type) -> Iterator[str]:
    for one in kind.__mro__:
        if "__init__" in vars(one) and one is not object:
            yield from (name for name in inspect.signature(one.__init__).parameters if name != "self")  # type: ignore[misc]
