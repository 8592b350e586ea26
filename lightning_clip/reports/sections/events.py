"""The events of a run: switches of strategy, rollbacks, stops."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.formats import count

SHOWN_EVENTS = 8
"""How many of the latest events are listed."""


def events(evidence: Evidence) -> Iterator[RenderableType]:
    """The latest events, one line each."""
    every = evidence.summary.events
    if not every:
        return
    shown = every[-SHOWN_EVENTS:]
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="magenta", no_wrap=True)
    table.add_column()
    for event in shown:
        table.add_row(Text(f"step {count(event.step)}"), Text(event.kind), Text(event.message))
    hidden = len(every) > len(shown)
    yield Text(f"  Events (the last {len(shown)} of {count(len(every))})" if hidden else "  Events", style="bold")
    yield Padding(table, (0, 0, 1, 2))
