"""`render_report`: the record of a run in the terminal."""

from rich.rule import Rule
from rich.text import Text

from lightning_clip.core.record.history import History
from lightning_clip.core.record.run_info import RunInfo
from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.sections import SECTIONS
from lightning_clip.reports.text import Report

__all__ = ["render_report"]


def render_report(history: History, run: RunInfo, *, title: str = "") -> Report:
    """Show the record of a run: the norm before and after clipping, what clipping did, each parameter, a diagnosis.

    Args:
        history: The record.
        run: What was run.
        title: What to call it; the model by default.

    Returns:
        A renderable for rich's consoles that also prints itself.

    Example:
        >>> from lightning_clip.core import StepRecord
        >>> from lightning_clip.reports.text import to_text
        >>> history = History()
        >>> history.extend([StepRecord(0, 0, "NormClip(1.0)", 4.0, 1.0, 1.0, 0.25, True, True, False)])
        >>> "clipped 1 of 1 step" in to_text(render_report(history, RunInfo(model="MLPRegressor")), width=100)
        True
    """
    return report_on(Evidence.of(history, run, title=title))


def report_on(evidence: Evidence) -> Report:
    """The same for evidence that is already there.

    Args:
        evidence: The record of a run, summarized.
    """
    name = evidence.title or evidence.run.model
    heading = Text(f"Gradient report: {name}" if name else "Gradient report", style="bold")
    parts = [part for section in SECTIONS for part in section(evidence)]
    return Report(Rule(heading, style="cyan", align="left"), *parts)
