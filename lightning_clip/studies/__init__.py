"""Studies: compare models x strategies x seeds on one data module.

A `Study` says what to run, `run_study` runs it, and `comparison` shows the results.
"""

from typing import TYPE_CHECKING

from lightning_clip._lazy import lazy_names

if TYPE_CHECKING:
    from lightning_clip.studies.cell import *
    from lightning_clip.studies.check import *
    from lightning_clip.studies.comparison import *
    from lightning_clip.studies.experiment import *
    from lightning_clip.studies.metrics import *
    from lightning_clip.studies.results import *
    from lightning_clip.studies.runner import *
    from lightning_clip.studies.study import *
    from lightning_clip.studies.study_file import *
    from lightning_clip.studies.training import *

# Lazy, because showing the results of a study needs nothing that running one needs.
__getattr__, __dir__ = lazy_names(
    __name__,
    [
        *("comparison", "results", "cell", "study", "check", "study_file", "experiment", "training"),
        *("runner", "metrics"),
    ],
)
