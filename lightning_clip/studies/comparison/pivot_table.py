"""`PivotTable`: the standings of a study by the values of one axis, in the terminal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from lightning_clip.reports.formats import DASH, TIMES, count, number, shorten
from lightning_clip.studies.comparison.metrics import DEAD, STEPS_TO_SOLVE, metric_title
from lightning_clip.studies.comparison.pivot import Pivot, Value, value_name
from lightning_clip.studies.comparison.standings import Standing

_MARGIN = 2
_LONGEST_DETAILED = 6

Cell = tuple[str, str]


@dataclass(frozen=True, slots=True)
class PivotTable:
    """A row for each strategy, a column for each value of the axis. Columns that do not fit go below.

    Attributes:
        pivot: The table to show.
        metric: The metric to show if there is no task to solve.
    """

    pivot: Pivot
    metric: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._lines(self.pivot.values, options.max_width)
        if any(row.all_diverged and row.solved is None for row in self.pivot.standings):
            yield Text(f"  {TIMES} every run diverged", "dim")

    def _lines(self, values: Sequence[Value], width: int) -> list[Text]:
        """All lines. If there are too many columns, they are split in half until they fit."""
        panels = self._panels()
        for gap in (2, 1):
            lines = self._block(values, panels, width, gap)
            if max(map(len, lines)) <= width:
                return lines
        if len(values) == 1:
            return lines
        half = (len(values) + 1) // 2
        return [*self._lines(values[:half], width), Text(), *self._lines(values[half:], width)]

    def _panels(self) -> list[tuple[str, Callable[[Standing], Cell]]]:
        rows = self.pivot.standings
        solving = [row for row in rows if row.solved is not None]
        metric = f"{metric_title(self.metric)}, median"
        title = metric if not solving else "solved" if len(solving) == len(rows) else f"solved, or {metric}"
        panels: list[tuple[str, Callable[[Standing], Cell]]] = [(title, lambda row: _main_cell(row, self.metric))]
        if len(self.pivot.rows) <= _LONGEST_DETAILED and len(self.pivot.values) > 2:
            if solving:
                panels.append((f"{metric_title(STEPS_TO_SOLVE)}, median", _steps_cell))
            if any(row.diverged for row in rows):
                panels.append(("diverged", lambda row: _loss_cell(row.diverged, row.runs)))
            if any(row.dead for row in rows):
                panels.append((DEAD, lambda row: _loss_cell(row.dead, row.runs)))
        return panels

    def _block(
        self, values: Sequence[Value], panels: Sequence[tuple[str, Callable[[Standing], Cell]]], width: int, gap: int
    ) -> list[Text]:
        axis = self.pivot.axis
        names = {name: shorten(name, max(width // 3, 8)) for name in self.pivot.rows}
        margin = max(map(len, [axis, *names.values()])) + _MARGIN
        cells = {
            (title, name): [show(own[value]) if value in own else ("", "") for value in values]
            for title, show in panels
            for name, own in self.pivot.rows.items()
        }
        columns = [max(map(len, [value_name(v), *(row[i][0] for row in cells.values())])) for i, v in enumerate(values)]
        head = [(value_name(value), "bold") for value in values]
        lines = [_line(f"{'':{_MARGIN}}{axis}", head, margin, columns, gap, "bold")]
        lines.append(Text(" " + "─" * (len(lines[0]) - 1)))
        for title, _ in panels:
            lines.append(Text(f" {title}", "bold"))
            lines += [_line(f"  {names[n]}", cells[title, n], margin, columns, gap) for n in names]
        return lines


def _line(name: str, cells: Sequence[Cell], margin: int, columns: Sequence[int], gap: int, style: str = "") -> Text:
    line = Text(f"{name:{margin}}", style=style)
    for (text, own), width in zip(cells, columns, strict=True):
        line.append(" " * gap).append(f"{text:>{width}}", own)
    return line


def _main_cell(row: Standing, metric: str) -> Cell:
    if row.solved is not None:
        style = "green" if row.solved == row.runs else "yellow" if row.solved else "red"
        return f"{row.solved}/{row.runs}", style
    if row.all_diverged:
        return TIMES, "bold red"
    if metric not in row.spreads:
        return DASH, ""
    mark, style = ("*", "bold green") if metric in row.best else ("", "")
    return f"{mark}{number(row.spreads[metric].median)}", style


def _steps_cell(row: Standing) -> Cell:
    steps = row.spreads.get(STEPS_TO_SOLVE)
    return (count(steps.median), "bold green" if STEPS_TO_SOLVE in row.best else "") if steps else (DASH, "dim")


def _loss_cell(lost: int, runs: int) -> Cell:
    style = "bold red" if lost == runs else "yellow" if lost else "dim"
    return f"{lost}/{runs}", style
