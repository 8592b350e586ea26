"""`ComparisonColumns`: the columns to the right of the names in the table of a comparison."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import RenderableType
from rich.text import Text

from lightning_clip.reports.formats import DASH, count, duration, percent
from lightning_clip.studies.comparison.metrics import (
    DEAD,
    SOLVED,
    STEPS_TO_SOLVE,
    main_metric,
    metric_number,
    metric_title,
)
from lightning_clip.studies.comparison.standings import Standing

BEST = "*"


@dataclass(frozen=True, slots=True)
class Layout:
    """What a table has room for.

    Attributes:
        is_high: Whether headings have two lines.
        is_stacked: Whether ranges are below the values.
        has_time: Whether there is a column for the time.
        has_clipped: Whether there is a column for the fraction of clipped steps.
        has_steps: Whether the steps at which runs diverged are shown.
        has_zeros: Whether there is a column for diverged runs even if no run diverged.
        has_ranges: Whether metrics have their range.
        has_other_ranges: Whether metrics other than the main one have their range.
    """

    is_high: bool = False
    is_stacked: bool = False
    has_time: bool = True
    has_clipped: bool = True
    has_steps: bool = True
    has_zeros: bool = True
    has_ranges: bool = True
    has_other_ranges: bool = True

    @property
    def separator(self) -> str:
        """The text between a value and its range."""
        return "\n" if self.is_stacked else " "


@dataclass(frozen=True, slots=True)
class ComparisonColumns:
    """The columns to the right of the names.

    Attributes:
        rows: The standings.
        metrics: The names of the metrics.
        layout: What the table has room for.
    """

    rows: Sequence[Standing]
    metrics: Sequence[str]
    layout: Layout

    @property
    def headings(self) -> list[str]:
        """The headings of the columns."""
        solved = [SOLVED] if self._has_task else []
        last = ["clipped"] * self.layout.has_clipped + ["time"] * self.layout.has_time
        return [*solved, *self._divergence_heading, *self._death_heading, *map(self._heading, self._values), *last]

    def cells(self, row: Standing) -> list[RenderableType]:
        """Make the cells of a row.

        Args:
            row: The standing.

        Returns:
            One cell for each heading.
        """
        solved = [_solved(row)] if self._has_task else []
        last = [Text(percent(row.clipped_fraction))] * self.layout.has_clipped
        last += [Text(duration(row.seconds))] * self.layout.has_time
        lost = [self._divergence(row) for _ in self._divergence_heading]
        lost += [Text(f"{row.dead} of {row.runs}", "yellow" if row.dead else "") for _ in self._death_heading]
        return [*solved, *lost, *(self._metric(row, name) for name in self._values), *last]

    @property
    def _has_task(self) -> bool:
        return any(row.solved is not None for row in self.rows)

    @property
    def _divergence_heading(self) -> list[str]:
        return ["diverged"] * (self.layout.has_zeros or any(row.diverged for row in self.rows))

    @property
    def _death_heading(self) -> list[str]:
        return [DEAD] * any(row.dead for row in self.rows)

    @property
    def _values(self) -> list[str]:
        return [name for name in self.metrics if name not in (SOLVED, DEAD)]

    def _has_range(self, metric: str) -> bool:
        matters = STEPS_TO_SOLVE if self._has_task else main_metric(self.metrics)
        has_room = self.layout.has_ranges and (self.layout.has_other_ranges or metric == matters)
        return has_room and any(row.runs - row.diverged > 1 for row in self.rows)

    def _heading(self, metric: str) -> str:
        separator = "\n" if self.layout.is_high else " "
        return metric_title(metric) + f"{separator}[min{DASH}max]" * self._has_range(metric)

    def _divergence(self, row: Standing) -> Text:
        if not row.diverged:
            return Text(f"0 of {row.runs}", style="green")
        text = f"{row.diverged} of {row.runs}"
        if row.diverged_at is not None and self.layout.has_steps:
            first, last = row.diverged_at
            text += f"{'' if self.layout.is_stacked else ','}{self.layout.separator}step {count(first)}"
            text += f"{DASH}{count(last)}" if last > first else ""
        return Text(text, style="bold red" if row.all_diverged else "yellow")

    def _metric(self, row: Standing, metric: str) -> Text:
        if row.all_diverged and metric != STEPS_TO_SOLVE:
            return Text("diverged", style="bold red")
        spread = row.spreads.get(metric)
        if spread is None:
            return Text(DASH)
        mark, style = (BEST, "bold green") if metric in row.best else ("", "")
        text = Text(f"{mark}{metric_number(metric, spread.median)}", style=style)
        values = row.solved if metric == STEPS_TO_SOLVE else row.runs - row.diverged
        if self._has_range(metric) and (values or 0) > 1:
            limits = DASH.join(metric_number(metric, limit) for limit in (spread.min, spread.max))
            text.append(f"{self.layout.separator}[{limits}]", style="dim")
        return text


def _solved(row: Standing) -> Text:
    if row.solved is None:
        return Text(DASH)
    mark = BEST if SOLVED in row.best else ""
    style = "green" if row.solved == row.runs else "yellow" if row.solved else "red"
    return Text(f"{mark}{row.solved} of {row.runs}", style=style)
