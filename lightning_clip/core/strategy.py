"""`ClipStrategy`: the one interface of every clipping rule."""

import inspect
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, ClassVar

from torch import nn

from lightning_clip.core.actions import Action
from lightning_clip.core.gradients import Gradients


class ClipStrategy(nn.Module, ABC):
    """A rule that looks at gradients and decides what to do with them.

    Subclasses are final: to change one, wrap it. They have no parameters; what they remember lives in buffers, so
    that device moves, checkpoints, `deepcopy` and nesting work by themselves. Each constructor argument is kept as
    an attribute of the same name, which is how a strategy prints itself.

    Attributes:
        scheduled_arg: The constructor argument that is the limit and is read anew by each decision, so that a schedule
            can move it; `None` where there is no such one.
    """

    scheduled_arg: ClassVar[str | None] = None

    @abstractmethod
    def decide(self, grads: Gradients) -> Action:
        """Decide on the gradients of one optimizer step; update the state, leave the gradients alone.

        Called once per optimizer step, without autograd. Must not read the device: no Python branch on a tensor.

        Args:
            grads: What the optimizer is about to apply.

        Returns:
            The action to apply.
        """

    def forward(self, grads: Gradients) -> Action:
        """The same as `decide`."""
        return self.decide(grads)

    @cached_property
    def label(self) -> str:
        """The strategy in a few words, for records and tables: its first argument and those not at their default."""
        arguments = list(_arguments(self))
        shown = [repr(value) for _, value, _ in arguments[:1]]
        shown += [f"{name}={value!r}" for name, value, default in arguments[1:] if repr(value) != repr(default)]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value, _ in _arguments(self))
        return f"{type(self).__name__}({shown})"


def _arguments(strategy: ClipStrategy) -> list[tuple[str, Any, Any]]:
    """Name, value and default of each constructor argument."""
    parameters = inspect.signature(type(strategy)).parameters.values()
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return [(p.name, getattr(strategy, p.name), p.default) for p in named]
