"""`ClipStrategy`: the interface of every clipping strategy."""

import inspect
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, ClassVar

from torch import nn

from lightning_clip.core.actions import Action
from lightning_clip.core.gradients import Gradients


class ClipStrategy(nn.Module, ABC):
    """A rule that looks at gradients and decides how to clip them.

    Subclasses are final: to change one, wrap it. They have no parameters. Their state lives in buffers, so device
    moves, checkpoints, `deepcopy` and nesting work as for any module. Each constructor argument is stored as an
    attribute of the same name, which `repr` relies on.

    Attributes:
        scheduled_arg: The constructor argument that holds the limit and is read at every decision, so that a schedule
            can change it; `None` if there is none.
    """

    scheduled_arg: ClassVar[str | None] = None

    @abstractmethod
    def decide(self, grads: Gradients) -> Action:
        """Decide what to do with the gradients of one optimizer step; may update the state, never the gradients.

        It is called once per optimizer step, without autograd. It must not read the device: no Python branch on a
        tensor.

        Args:
            grads: The gradients that the optimizer is about to apply.

        Returns:
            The action to apply.
        """

    def forward(self, grads: Gradients) -> Action:
        """Same as `decide`."""
        return self.decide(grads)

    @cached_property
    def label(self) -> str:
        """A short `repr` for records and tables: the first argument and every argument that is not at its default."""
        arguments = list(_arguments(self))
        shown = [repr(value) for _, value, _ in arguments[:1]]
        shown += [f"{name}={value!r}" for name, value, default in arguments[1:] if repr(value) != repr(default)]
        return f"{type(self).__name__}({', '.join(shown)})"

    @property
    def brief(self) -> str:
        """A `repr` for the head of a report: the first argument and every argument that is not at its default, named.

        Whole numbers are written without decimals: `AutoClip(percentile=10)`.
        """
        arguments = list(_arguments(self))
        shown = arguments[:1] + [one for one in arguments[1:] if repr(one[1]) != repr(one[2])]
        return f"{type(self).__name__}({', '.join(f'{name}={_briefly(value)}' for name, value, _ in shown)})"

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value, _ in _arguments(self))
        return f"{type(self).__name__}({shown})"


def _arguments(strategy: ClipStrategy) -> list[tuple[str, Any, Any]]:
    """Return the name, value and default of each constructor argument."""
    parameters = inspect.signature(type(strategy)).parameters.values()
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return [(p.name, getattr(strategy, p.name), p.default) for p in named]


def _briefly(value: Any) -> str:
    if isinstance(value, ClipStrategy):
        return value.brief
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list | tuple):
        inside = ", ".join(map(_briefly, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_briefly(item)}" for key, item in value.items()) + "}"
    return repr(value)
