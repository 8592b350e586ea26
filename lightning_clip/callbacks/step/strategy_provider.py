"""`StrategyProvider`: what a callback needs to decide with which strategies a run starts."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import Trainer

from lightning_clip.core.strategy import ClipStrategy


@runtime_checkable
class StrategyProvider(Protocol):
    """A callback that may replace an observer's strategy before the first step of a run."""

    def starting_strategies(self, observer: Any, trainer: Trainer) -> Sequence[ClipStrategy] | None:
        """Return the strategy of each optimizer, or `None` to leave the observer its own.

        Args:
            observer: The `GradientObserver` whose run begins or is restored.
            trainer: The trainer, at the start of training.
        """
