"""What people see: numbers, findings, terminal reports and figures of a run. rich and matplotlib load on first use."""

from typing import TYPE_CHECKING

from lightning_clip._lazy import lazy_names

if TYPE_CHECKING:
    from lightning_clip.studies.comparison.report import *
    from lightning_clip.studies.comparison.figure import *
    from lightning_clip.reports.console import *
    from lightning_clip.reports.diagnosis.diagnose import *
    from lightning_clip.reports.figures.run import *
    from lightning_clip.reports.summary import *
    from lightning_clip.reports.text import *

__getattr__, __dir__ = lazy_names(
    __name__, ["summary", "diagnosis", "text", "console", "comparison", "comparison_figure", "figures"]
)
