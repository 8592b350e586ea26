"""Several runs side by side in the terminal: where they part, their norms, numbers and findings."""

import math
from collections.abc import Iterator

import numpy as np
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from lightning_clip.reports.comparison import Comparison, Difference
from lightning_clip.reports.formats import DASH, count, duration, number, percent, shorten_all
from lightning_clip.reports.sections.chart import BAD, draw_line
from lightning_clip.reports.sections.tables import fitted, headline
from lightning_clip.reports.text import Report

_FORMATS = {"steps": count, "seconds": duration, "clipped fraction": percent, "skipped steps": count}
_LABELS = {"seconds": "time", "clipped fraction": "clipped"}


def side_by_side(comparison: Comparison) -> Report:
    """Show runs side by side.

    Args:
        comparison: The runs.

    Returns:
        A renderable for rich's consoles that also prints itself.
    """
    heading = Text("Comparison of " + ", ".join(comparison.names), style="bold")
    return Report(Rule(heading, style="cyan", align="left"), *_parts(comparison))


def _parts(comparison: Comparison) -> Iterator[RenderableType]:
    yield Padding(Text("\n".join(where_they_part(comparison))), (0, 0, 1, 2))
    yield NormLines(comparison)
    yield NumberTable(comparison)
    yield from _findings(comparison)


def where_they_part(comparison: Comparison) -> Iterator[str]:
    """Say of each further run where it parts from the first one.

    Args:
        comparison: The runs.

    Yields:
        A sentence for each.
    """
    first, *others = comparison.names
    for name, found in zip(others, comparison.differences, strict=True):
        yield f"{name}: {_parting(found, first)}"


def _parting(found: Difference | None, first: str) -> str:
    if found is None:
        return f"the same as {first}, bit for bit, as far as both went."
    where = f"at step {count(found.first_step)}"
    if found.last_step > found.first_step:
        where = f"between step {count(found.first_step)} and step {count(found.last_step)}"
    one, other = ("NaN" if math.isnan(value) else number(value) for value in found.values)
    return f"differs from {first} first {where}: {found.what} {other} instead of {one}."


class NormLines:
    """The norm before clipping of each run, one line of characters each, on one scale.

    Args:
        comparison: The runs.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        records = self.comparison.records
        curves = [part.before for one in records for part in one.summary.optimizers[:1]]
        steps = [part.steps + part.empty for one in records for part in one.summary.optimizers[:1]]
        values = np.array([value for curve in curves for value in curve])
        shown = values[np.isfinite(values) & (values > 0)]
        if not len(shown) or len(curves) < len(records):
            return
        names = shorten_all(list(self.comparison.names), options.max_width // 4)
        width = options.max_width - max(map(len, names)) - 6  # the indent, and two between and after the columns
        low, high = float(shown.min()), float(shown.max())
        yield headline(f"Norm before clipping, from {number(low)} to {number(high)} (log scale)")
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        for name, curve, own in zip(names, curves, steps, strict=True):
            line = draw_line(curve, columns=max(1, round(width * own / max(steps))), low=low, high=high)
            text = Text(line, "cyan")
            text.highlight_regex(BAD, "bold red")
            table.add_row(Text(name, "dim"), text)
        yield Padding(table, (0, 0, 1, 2))


def number_rows(comparison: Comparison) -> Iterator[list[str]]:
    """The numbers of each run as text.

    Args:
        comparison: The runs.

    Yields:
        What the numbers are, and the number of each run.
    """
    for what, row in comparison.numbers.items():
        show = _FORMATS.get(what, number)
        cells = [DASH if value is None else "NaN" if math.isnan(value) else show(value) for value in row]
        yield [_LABELS.get(what, what), *cells]


class NumberTable:
    """The numbers of each run, as wide as the console.

    Args:
        comparison: The runs.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        table.add_column("")
        for name in shorten_all(list(self.comparison.names), options.max_width // 3):
            table.add_column(name, justify="right", no_wrap=True)
        for what, *cells in number_rows(self.comparison):
            table.add_row(what, *map(Text, cells))
        yield from fitted(console, options, table)


def _findings(comparison: Comparison) -> Iterator[RenderableType]:
    if not comparison.findings:
        yield Text("  No run has a finding.")
        return
    yield headline("Findings")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("", overflow="fold")
    for name in comparison.names:
        table.add_column(Text(name), justify="center", overflow="fold")
    for row in comparison.finding_rows():
        table.add_row(*map(Text, row))
    yield Padding(table, (0, 0, 1, 2))
