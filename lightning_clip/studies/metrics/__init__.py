"""Callbacks that add numbers to the result of a run."""

from typing import TYPE_CHECKING

from lightning_clip._lazy import lazy_names

if TYPE_CHECKING:
    from lightning_clip.studies.metrics.growth_rates import *
    from lightning_clip.studies.metrics.learning_curves import *
    from lightning_clip.studies.metrics.relative_error import *
    from lightning_clip.studies.metrics.stop_when_solved import *
    from lightning_clip.studies.metrics.study_metric import *

__getattr__, __dir__ = lazy_names(
    __name__, ["study_metric", "stop_when_solved", "growth_rates", "learning_curves", "relative_error"]
)
