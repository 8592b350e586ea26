"""`StudyMetric`: a callback that adds numbers to the result of a run."""

from abc import ABC, abstractmethod

from lightning.pytorch import Callback

__all__ = ["StudyMetric"]


class StudyMetric(Callback, ABC):
    """Takes part in the training of a study's run, and adds to its metrics.

    A study names it under `callbacks` by `class_path` and `init_args`; each run has one of its own.
    """

    @property
    @abstractmethod
    def metrics(self) -> dict[str, float | None]:
        """Numbers by name, once the training has ended; `None` for one that there is not."""
