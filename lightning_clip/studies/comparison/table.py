"""`ComparisonTable`: the standings of a study in the terminal, one row each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lightning_clip.studies.comparison.columns import BEST, ComparisonColumns, Layout
from lightning_clip.studies.comparison.metrics import DEAD, SOLVED
from lightning_clip.studies.comparison.pivot import value_name, varied_axes
from lightning_clip.studies.comparison.standings import Standing

_MANY = 12

_STACKED = Layout(is_high=True, is_stacked=True)
_FEW_ROWS = (
    Layout(),
    _STACKED,
    replace(_STACKED, has_time=False),
    replace(_STACKED, has_time=False, has_clipped=False, has_zeros=False),
    replace(_STACKED, has_time=False, has_clipped=False, has_zeros=False, has_other_ranges=False),
    replace(_STACKED, has_time=False, has_clipped=False, has_zeros=False, has_steps=False, has_ranges=False),
)
_FLAT = Layout(is_high=True, has_time=False, has_zeros=False)
_MANY_ROWS = (
    Layout(is_high=True),
    _FLAT,
    replace(_FLAT, has_other_ranges=False),
    replace(_FLAT, has_other_ranges=False, has_steps=False),
    replace(_FLAT, has_other_ranges=False, has_steps=False, has_clipped=False),
    replace(_FLAT, has_ranges=False, has_steps=False, has_clipped=False),
)


@dataclass(frozen=True, slots=True)
class ComparisonTable:
    """A row for each model, strategy and setting. In a narrow console, the least important columns are dropped first.

    A few rows may take two lines each; many rows take one line each.

    Attributes:
        rows: The standings.
        metrics: The metrics, in the order of their columns.
    """

    rows: Sequence[Standing]
    metrics: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update(max_width=10_000)
        for layout in _MANY_ROWS if len(self.rows) > _MANY else _FEW_ROWS:
            table = self._table(layout)
            if Measurement.get(console, wide, table).maximum <= options.max_width:
                break
        yield table
        if any(row.best for row in self.rows):
            yield Padding(Text(self._legend(), "dim"), (0, 2, 0, 2))

    def _legend(self) -> str:
        axes = list(varied_axes(self.rows))
        models = [] if self._compares_models or (axes and len(self._headings) == 1) else ["model"]
        of = f" of its {' and '.join([*models, *axes])}" if models or axes else ""
        has_task = {row.solved is not None for row in self.rows}
        if True in has_task:
            steps = "fewest steps, or best median" if False in has_task else "fewest steps"
            return f"{BEST} best{of}: most solved, then fewest diverged, then {steps}"
        what = "models" if self._compares_models else "strategies"
        return f"{BEST} best median{of}, among the {what} with the fewest diverged runs"

    @property
    def _compares_models(self) -> bool:
        return self.rows[0].compares_models

    @property
    def _headings(self) -> list[str]:
        return list(dict.fromkeys(map(self._heading, self.rows)))

    def _heading(self, row: Standing) -> str:
        return row.group_name if self._compares_models else row.model

    def _table(self, layout: Layout) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
        axes = [] if self._compares_models else list(varied_axes(self.rows))
        for name in [*axes, "model" if self._compares_models else "strategy"]:
            table.add_column(Text(name if table.columns else f" {name}"), overflow="fold", no_wrap=name in axes)
        columns = ComparisonColumns(self.rows, self.metrics, layout)
        for heading in columns.headings:
            is_left = heading in ("diverged", DEAD, SOLVED)
            table.add_column(Text(heading), justify="left" if is_left else "right", no_wrap=True)
        for heading in self._headings:
            if len(self._headings) > 1:
                table.add_row(Text(heading, style="bold"))
            above: list[str] = []
            for row in self.rows:
                if self._heading(row) == heading:
                    names = [value_name(row.axes[name]) if name in row.axes else "" for name in axes]
                    first, *others = [*_without_repetition(names, above), row.name]
                    above = names
                    table.add_row(Padding(Text(first), (0, 0, 0, 1)), *map(Text, others), *columns.cells(row))
        return table


def _without_repetition(names: Sequence[str], above: Sequence[str]) -> list[str]:
    """The names of a row; a name is blank if it and all names before it repeat those of the row above."""
    same = [list(names[: i + 1]) == list(above[: i + 1]) for i in range(len(names))]
    return ["" if is_same else name for name, is_same in zip(names, same, strict=True)]
