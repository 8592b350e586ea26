"""The head of a report: what was run, and how long."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.formats import counted, duration
from lightning_clip.reports.sections.tables import pairs


def head(evidence: Evidence) -> Iterator[RenderableType]:
    """Model (where the title is another one), strategy, optimizer, steps and time."""
    run, steps = evidence.run, evidence.summary.steps
    time = f" in {duration(run.seconds)}" if run.seconds is not None else ""
    rows = [
        ("Model", run.model if evidence.title else ""),
        ("Strategy", run.brief_strategy or run.strategy),
        ("Optimizer", run.optimizer),
        ("Run", counted(steps, "optimizer step") + time),
    ]
    yield pairs((name, value) for name, value in rows if value)
    if not steps:
        yield Text("  No optimizer step was recorded.")
