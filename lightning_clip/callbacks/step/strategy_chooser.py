"""`StrategyChooser`: what a callback needs to change another callback's strategy."""

from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import Trainer
from typing_extensions import TypeIs

from lightning_clip.callbacks.step.context import StepContext


@runtime_checkable
class StrategyChooser(Protocol):
    """A callback that may override an observer's strategy before each decision."""

    def choose_strategy(self, observer: Any, trainer: Trainer, context: StepContext) -> None:
        """Look at the step that is about to be made, and call `observer.override_strategy` if necessary.

        Args:
            observer: The `GradientObserver` whose strategy is about to decide.
            trainer: The trainer, while it is fitting.
            context: The context of the step, which knows the optimizer.
        """


def is_strategy_chooser(callback: Any) -> TypeIs[StrategyChooser]:
    """Return whether a callback is a `StrategyChooser`, in a hundredth of the time that `isinstance` takes.

    Args:
        callback: Any callback.
    """
    return hasattr(callback, "choose_strategy")
