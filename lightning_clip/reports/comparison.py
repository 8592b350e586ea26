"""`render_comparison`: the results of a study in the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from lightning_clip.core.results import RunResult
from lightning_clip.reports.conclusions import conclusions
from lightning_clip.reports.formats import DASH, count, counted, duration, number, percent
from lightning_clip.reports.standings import Standing, metric_names, metric_title, standings
from lightning_clip.reports.text import Report

__all__ = ["render_comparison"]


_BEST = "*"


def render_comparison(results: Sequence[RunResult], *, title: str = "") -> Report:
    """Show the runs of a study side by side, and say what they show.

    Args:
        results: The runs.
        title: What to call them, for instance the study's name.

    Returns:
        What rich's consoles print, and what prints itself.

    Example:
        >>> from lightning_clip.reports.text import to_text
        >>> runs = [RunResult("mlp", "none", 0, True, 3, 3, 0.1, 0.0, {"test_mse": None})]
        >>> to_text(render_comparison(runs), width=100).splitlines()[-1].strip()
        'Every run of none diverged, by step 3 at the latest.'
    """
    rows, metrics = standings(results), metric_names(results)
    heading = Text(f"Comparison: {title}" if title else "Comparison", style="bold")
    words = Text(" ".join(conclusions(rows, metrics)))
    parts: list[RenderableType] = [Rule(heading, style="cyan", align="left")]
    if rows:
        parts += [Padding(Text(_extent(results, rows), "dim"), (0, 0, 0, 2)), ComparisonTable(rows, metrics)]
    return Report(*parts, Padding(words, (1, 2, 1, 2)))


@dataclass(frozen=True, slots=True)
class ComparisonTable:
    """A row for each model and strategy; in a narrow console ranges go below, in a narrower one the time is left out.

    Attributes:
        rows: The standings.
        metrics: The metrics, in the order of their columns.
    """

    rows: Sequence[Standing]
    metrics: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = self._table(" ")
        if self._is_too_wide(table, console, options):
            table = self._table("\n")
        if self._is_too_wide(table, console, options):
            table = self._table("\n", without_time=True)
        yield table
        if any(row.best for row in self.rows):
            yield Text(f"  {_BEST} best median of its model, among the strategies with the fewest diverged runs", "dim")

    def _is_too_wide(self, table: Table, console: Console, options: ConsoleOptions) -> bool:
        return Measurement.get(console, options.update(max_width=10_000), table).maximum > options.max_width

    def _table(self, separator: str, *, without_time: bool = False) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
        table.add_column(" strategy", overflow="fold")
        table.add_column("diverged", no_wrap=True)
        has_ranges = any(row.runs - row.diverged > 1 for row in self.rows)
        for metric in self.metrics:
            heading = metric_title(metric) + (f"{separator}[min{DASH}max]" if has_ranges else "")
            table.add_column(Text(heading), justify="right", no_wrap=True)
        last = ("clipped",) if without_time else ("clipped", "time")
        for name in last:
            table.add_column(name, justify="right", no_wrap=True)
        groups = list(dict.fromkeys(row.group for row in self.rows))
        for group in groups:
            own = [row for row in self.rows if row.group == group]
            if len(groups) > 1:
                table.add_row(Text(own[0].group_name, style="bold"))
            for row in own:
                table.add_row(*_cells(row, self.metrics, separator)[: len(table.columns)])
        return table


def _cells(row: Standing, metrics: Sequence[str], separator: str) -> list[RenderableType]:
    return [
        Padding(Text(row.strategy), (0, 0, 0, 1)),
        _divergence(row, separator),
        *(_metric(row, metric, separator) for metric in metrics),
        Text(percent(row.clipped_fraction)),
        Text(duration(row.seconds)),
    ]


def _extent(results: Sequence[RunResult], rows: Sequence[Standing]) -> str:
    groups = list(dict.fromkeys(row.group_name for row in rows))
    strategies = len({row.strategy for row in rows})
    extent = groups if len(groups) == 1 else [counted(len({row.model for row in rows}), "model")]
    extent += ["1 strategy" if strategies == 1 else f"{count(strategies)} strategies"]
    extent += [counted(len({result.seed for result in results}), "seed"), counted(len(results), "run")]
    return ", ".join(extent) + "; metrics are medians over the runs that did not diverge"


def _divergence(row: Standing, separator: str) -> Text:
    if not row.diverged:
        return Text(f"0 of {row.runs}", style="green")
    text = f"{row.diverged} of {row.runs}"
    if row.diverged_at is not None:
        first, last = row.diverged_at
        text += f"{',' if separator == ' ' else ''}{separator}step {count(first)}" + (
            f"{DASH}{count(last)}" if last > first else ""
        )
    return Text(text, style="bold red" if row.all_diverged else "yellow")


def _metric(row: Standing, metric: str, separator: str) -> Text:
    if row.all_diverged:
        return Text("diverged", style="bold red")
    spread = row.spreads.get(metric)
    if spread is None:
        return Text(DASH)
    mark, style = (_BEST, "bold green") if metric in row.best else ("", "")
    text = Text(f"{mark}{number(spread.median)}", style=style)
    if row.runs - row.diverged > 1:
        text.append(f"{separator}[{number(spread.min)}{DASH}{number(spread.max)}]", style="dim")
    return text
