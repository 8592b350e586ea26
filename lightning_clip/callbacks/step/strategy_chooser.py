"""`StrategyChooser`: what a callback needs to change another callback's strategy."""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lightning.pytorch import Trainer

from lightning_clip.callbacks.step.context import StepContext

if TYPE_CHECKING:
    from lightning_clip.callbacks._gradient_observer import GradientObserver


@runtime_checkable
class StrategyChooser(Protocol):
    """A callback that may override an observer's strategy before each decision."""

    def choose_strategy(self, observer: "GradientObserver", trainer: Trainer, context: StepContext) -> None:
        """Look at the step that is about to be made, and call `observer.override_strategy` if necessary.

        Args:
            observer: The callback whose strategy is about to decide.
            trainer: The trainer, while it is fitting.
            context: The context of the step, which knows the optimizer.
        """
