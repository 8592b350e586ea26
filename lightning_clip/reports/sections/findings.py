"""The diagnosis in a report: the most severe findings, in a box."""

from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from lightning_clip.reports.diagnosis.rule import Severity
from lightning_clip.reports.diagnosis.rules import diagnose
from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.summary import FEW_STEPS

SHOWN_FINDINGS = 5
"""How many findings are shown, the most severe first."""

_MARKS = {Severity.CRITICAL: ("!!", "bold red"), Severity.WARNING: ("!", "yellow"), Severity.NOTE: ("i", "cyan")}


def findings(evidence: Evidence) -> Iterator[RenderableType]:
    """Each finding with its numbers and its remedy, or one line where nothing is wrong."""
    if not evidence.summary.steps:
        return
    found = diagnose(evidence)[:SHOWN_FINDINGS]
    body: RenderableType = Text(_nothing(evidence.summary.steps))
    if found:
        body = table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for position, finding in enumerate(found):
            mark, style = _MARKS[finding.severity]
            if position:
                table.add_row()
            table.add_row(Text(mark, style), Text(finding.title, style))
            table.add_row("", Text(finding.detail))
            table.add_row("", Text(f"→ {finding.remedy}"))
            if finding.code:
                table.add_row("", Text("\n".join(finding.code), "green"))
    color = _MARKS[found[0].severity][1].removeprefix("bold ") if found else "green"
    yield Panel(body, title="Diagnosis", title_align="left", box=box.ROUNDED, border_style=color)


def _nothing(steps: int) -> str:
    if steps < FEW_STEPS:
        return "Nothing unusual in these few steps."
    return "Nothing unusual: every norm was finite, none exploded, and no parameter is dead or vanishing."
