"""What people see of a run: numbers, findings, terminal report, figures. rich and matplotlib load on first use."""

from typing import TYPE_CHECKING

from lightning_clip._lazy import lazy_names

if TYPE_CHECKING:
    from lightning_clip.reports.console import *
    from lightning_clip.reports.diagnosis import *
    from lightning_clip.reports.evidence import *
    from lightning_clip.reports.figures import *
    from lightning_clip.reports.record import *
    from lightning_clip.reports.summary import *
    from lightning_clip.reports.text import *

__getattr__, __dir__ = lazy_names(
    __name__, ["summary", "evidence", "diagnosis", "record", "text", "console", "figures"]
)
