"""The runs of a study side by side: standings, tables, conclusions in words, figures."""

from typing import TYPE_CHECKING

from lightning_clip._lazy import lazy_names

if TYPE_CHECKING:
    from lightning_clip.studies.comparison.figure import *
    from lightning_clip.studies.comparison.report import *
    from lightning_clip.studies.comparison.result import *

__getattr__, __dir__ = lazy_names(__name__, ["result", "report", "figure"])
