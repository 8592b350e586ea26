"""Finds every concrete strategy through the class hierarchy, so that new files are tested by themselves."""

import inspect

import lightning_clip.strategies  # noqa: F401  (defines the classes)
from lightning_clip import ClipStrategy


def concrete_strategies() -> list[type[ClipStrategy]]:
    """All final strategy classes of the package, by name."""
    found, stack = set(), [ClipStrategy]
    while stack:
        for cls in stack.pop().__subclasses__():
            stack.append(cls)
            if not inspect.isabstract(cls) and cls.__module__.startswith("lightning_clip."):
                found.add(cls)
    return sorted(found, key=lambda cls: cls.__name__)
