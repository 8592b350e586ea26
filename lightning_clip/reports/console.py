"""`render_report`: the record of a run in the terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from lightning_clip.core.record.history import History
from lightning_clip.core.record.run_info import Event, RunInfo
from lightning_clip.core.recurrent.temporal_profile import temporal_profiles
from lightning_clip.reports.diagnosis.diagnose import Finding, Severity, diagnose
from lightning_clip.reports.formats import count, counted, duration
from lightning_clip.reports.sections.parameters import FEWEST_SHOWN, SHOWN_LAYERS, ParameterTable
from lightning_clip.reports.sections.optimizer import optimizer_section
from lightning_clip.reports.sections.pairs import pairs
from lightning_clip.reports.sections.recurrent import RecurrentTables, listed_layers
from lightning_clip.reports.sections.spectrum import spectrum_section
from lightning_clip.reports.summary import FEW_STEPS, Summary, summarize
from lightning_clip.reports.sections.temporal import temporal_section
from lightning_clip.reports.text import Report

__all__ = ["render_report"]


SHOWN_EVENTS = 8
"""How many of the latest events are listed."""

SHOWN_FINDINGS = 5
"""How many findings are shown, the most severe first."""

_MARKS = {Severity.CRITICAL: ("!!", "bold red"), Severity.WARNING: ("!", "yellow"), Severity.NOTE: ("i", "cyan")}


def render_report(history: History, run: RunInfo, *, title: str = "") -> Report:
    """Show the record of a run: the norm before and after clipping, what clipping did, each layer, and a diagnosis.

    Where a `TemporalGradientMonitor` has measured it, the gradient through time is shown too.

    Args:
        history: The record.
        run: What was run.
        title: What to call it; the model by default.

    Returns:
        What rich's consoles print, and what prints itself.

    Example:
        >>> from lightning_clip import StepRecord
        >>> from lightning_clip.reports.text import to_text
        >>> history = History()
        >>> history.extend([StepRecord(0, 0, "NormClip(1.0)", 4.0, 1.0, 1.0, 0.25, True, True, False)])
        >>> "bound on 1 of 1 step" in to_text(render_report(history, RunInfo(model="MLPRegressor")), width=100)
        True
    """
    summary = summarize(history, run)
    name = title or run.model
    parts: list[RenderableType] = [
        Rule(Text(f"Gradient report: {name}" if name else "Gradient report", style="bold"), style="cyan", align="left"),
        pairs(_head(summary, title)),
    ]
    if not summary.steps:
        return Report(*parts, Text("  No optimizer step was recorded."))
    for part in summary.optimizers:
        parts.extend(optimizer_section(summary, part))
    if summary.recurrent:
        parts.append(RecurrentTables(summary))
    if summary.layers:
        parts.append(ParameterTable(summary.layers, most=max(FEWEST_SHOWN, SHOWN_LAYERS - listed_layers(summary))))
    for profiles in temporal_profiles(history.measurements).values():
        parts.extend(temporal_section(profiles))
    parts.extend(spectrum_section(history))
    if summary.events:
        parts.append(_events(summary.events))
    parts.append(_findings(diagnose(history, run), summary.steps))
    return Report(*parts)


def _head(summary: Summary, title: str) -> list[tuple[str, str]]:
    run = summary.run
    time = f" in {duration(run.seconds)}" if run.seconds is not None else ""
    rows = [("Model", run.model if title else ""), ("Strategy", run.strategy), ("Optimizer", run.optimizer)]
    return [*((key, value) for key, value in rows if value), ("Run", counted(summary.steps, "optimizer step") + time)]


def _events(events: Sequence[Event]) -> RenderableType:
    shown = events[-SHOWN_EVENTS:]
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="magenta", no_wrap=True)
    table.add_column()
    for event in shown:
        table.add_row(Text(f"step {count(event.step)}"), Text(event.kind), Text(event.message))
    left_out = len(events) - len(shown)
    head = f"  Events (the last {len(shown)} of {count(len(events))})" if left_out else "  Events"
    return Report(Text(head, style="bold"), Padding(table, (0, 0, 1, 2)))


def _findings(findings: Sequence[Finding], steps: int) -> RenderableType:
    if not findings:
        enough = ": every norm was finite, none exploded, no layer is dead or vanishing."
        text = Text(f"Nothing unusual{enough if steps >= FEW_STEPS else ' in these few steps.'}")
        return Panel(text, title="Diagnosis", title_align="left", box=box.ROUNDED, border_style="green")
    body = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    body.add_column(no_wrap=True)
    body.add_column(overflow="fold")
    for position, finding in enumerate(findings[:SHOWN_FINDINGS]):
        mark, style = _MARKS[finding.severity]
        if position:
            body.add_row()
        body.add_row(Text(mark, style), Text(finding.title, style))
        body.add_row("", Text(finding.detail))
        body.add_row("", Text(f"→ {finding.remedy}"))
    worst = _MARKS[findings[0].severity][1].removeprefix("bold ")
    return Panel(body, title="Diagnosis", title_align="left", box=box.ROUNDED, border_style=worst)
