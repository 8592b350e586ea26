"""`draw_chart`: a norm over a run in characters: solid after clipping, shaded where clipping cut it off."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lightning_clip.reports.formats import TIMES, count, number

Role = Literal["axis", "after", "before", "bad", "switch"]
Segment = tuple[str, Role]

SOLID = "█"
SHADED = "░"
BAD = TIMES
SWITCH = "▲"

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_GAP_FROM = 3  # columns a step needs before steps are set apart
_FLOOR = 0.06  # part of the height below the smallest value, so that it can be seen


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, line by line, and what it shows.

    Attributes:
        lines: The lines, each as pieces of text with their role.
        has_cut: Whether clipping cut something off.
        has_bad: Whether a norm was NaN or infinite.
        steps_per_column: Number of steps per column, at least 1.
    """

    lines: tuple[tuple[Segment, ...], ...]
    has_cut: bool
    has_bad: bool
    steps_per_column: int


def draw_chart(
    before: Sequence[float],
    after: Sequence[float],
    *,
    steps: int,
    width: int,
    height: int = 8,
    switches: Sequence[float] = (),
) -> Chart:
    """Draw a norm over a run on a logarithmic scale.

    Args:
        before: Norms before clipping, `(m,)`; infinite where one was not finite.
        after: Norms after clipping, `(m,)`.
        steps: Number of steps that they cover.
        width: Characters per line.
        height: Lines above the axis.
        switches: Where the strategy was switched, each in [0, 1] of the run.

    Returns:
        The chart.
    """
    scale = _Scale.of(before, after, height)
    labels = scale.labels()
    margin = max(map(len, labels)) + 1
    columns = max(1, width - margin - 1)
    position = _columns(len(before), columns)
    high, low = _largest(before, position, columns), _largest(after, position, columns)
    bad = _largest(np.where(np.isinf(before), 1.0, 0.0).tolist(), position, columns) > 0
    heights = scale.heights(high), scale.heights(low)
    lines = []
    for row in range(height - 1, -1, -1):
        label, tick = labels[row], "┤" if labels[row] else "│"
        cells = _cells(row, *heights, bad=bad if row == height - 1 else None)
        lines.append(((f"{label:>{margin - 1}} {tick}", "axis"), *_merged(cells)))
    lines.append(((" " * margin + "└", "axis"), *_merged(_axis(columns, switches))))
    lines.append(((" " * (margin + 1) + _steps_line(steps, columns), "axis"),))
    cut = bool((np.nan_to_num(high) > np.nan_to_num(low)).any())
    return Chart(tuple(lines), has_cut=cut, has_bad=bool(bad.any()), steps_per_column=max(1, round(steps / columns)))


@dataclass(frozen=True, slots=True)
class _Scale:
    """A logarithmic axis.

    Attributes:
        low: Decimal logarithm at the lower end.
        high: Decimal logarithm at the upper end.
        height: Lines.
        is_empty: Whether no value can be read off.
    """

    low: float
    high: float
    height: int
    is_empty: bool

    @classmethod
    def of(cls, before: Sequence[float], after: Sequence[float], height: int) -> "_Scale":
        values = np.array([*before, *after])
        logs = np.log10(values[np.isfinite(values) & (values > 0)])
        low, high = (float(logs.min()), float(logs.max())) if len(logs) else (0.0, 0.0)
        if high - low < 1:  # less than a decade would turn a ripple into a mountain
            low, high = (low + high - 1) / 2, (low + high + 1) / 2
        return cls(low - _FLOOR * (high - low), high, height, is_empty=not len(logs))

    def heights(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """The height of each value, in eighths of a line; 0 for nothing to show."""
        shown = values > 0
        logs = np.log10(values, out=np.full(len(values), self.low), where=shown)
        eighths = np.rint((logs - self.low) / (self.high - self.low) * self.height * 8)
        return np.where(shown, np.maximum(eighths, 1), 0).astype(np.int64)

    def labels(self) -> list[str]:
        """The label of each line, from the bottom up; empty for most lines."""
        labels = [""] * self.height
        for value in self._ticks():
            row = math.floor((math.log10(value) - self.low) / (self.high - self.low) * self.height)
            row = min(row, self.height - 1)
            if not any(labels[max(0, row - 1) : row + 2]):
                labels[row] = number(value)
        return labels

    def _ticks(self) -> list[float]:
        if self.is_empty:
            return []
        span = self.high - self.low
        factors = (1, 2, 5) if span < 2.5 else (1,)
        every = max(1, math.ceil(span / (self.height / 2)))
        decades = range(math.floor(self.low), math.floor(self.high) + 1)
        ticks = [factor * 10.0**decade for factor in factors for decade in decades if decade % every == 0]
        return [tick for tick in ticks if self.low <= math.log10(tick) <= self.high]


def _columns(stretches: int, columns: int) -> NDArray[np.int64]:
    """The column where each stretch begins: several may share one, or one may span several."""
    return np.arange(stretches + 1) * columns // max(stretches, 1)


def _largest(
    values: Sequence[float], position: NDArray[np.int64], columns: int, *, gap_from: int = _GAP_FROM
) -> NDArray[np.float64]:
    """The largest finite value of each column; NaN for a column without one."""
    result = np.full(columns, np.nan)
    for value, start, end in zip(values, position[:-1], position[1:], strict=True):
        gap = 1 if end - start >= gap_from else 0
        here = slice(start, max(start + 1, end - gap))
        result[here] = np.fmax(result[here], value if math.isfinite(value) else math.nan)
    return result


def _cells(
    row: int, before: NDArray[np.int64], after: NDArray[np.int64], bad: NDArray[np.bool_] | None
) -> list[Segment]:
    solid, shaded = np.clip(after - 8 * row, 0, 8), before - 8 * row
    cells: list[Segment] = []
    for column, fill in enumerate(solid.tolist()):
        if bad is not None and bad[column]:
            cells.append((BAD, "bad"))
        elif fill and (shaded[column] < 8 or fill >= 4):
            cells.append((SOLID if shaded[column] >= 8 else _EIGHTHS[fill], "after"))
        else:
            cells.append((SHADED if shaded[column] >= 4 else " ", "before"))
    return cells


def _axis(columns: int, switches: Sequence[float]) -> list[Segment]:
    marked = {min(columns - 1, int(position * columns)) for position in switches}
    return [(SWITCH, "switch") if column in marked else ("─", "axis") for column in range(columns)]


def _steps_line(steps: int, columns: int) -> str:
    last = count(max(steps - 1, 0))
    middle = "step"
    if steps < 2 or columns < len(last) + len(middle) + 6:
        return "0"
    return f"0{middle:^{columns - 1 - len(last)}}{last}"


def _merged(cells: Sequence[Segment]) -> list[Segment]:
    """Adjacent pieces of the same role, joined."""
    merged: list[Segment] = []
    for text, role in cells:
        if merged and merged[-1][1] == role:
            merged[-1] = (merged[-1][0] + text, role)
        else:
            merged.append((text, role))
    return merged


def draw_line(values: Sequence[float], *, columns: int, low: float, high: float) -> str:
    """Draw a norm over a run in one line of characters, on a logarithmic scale.

    Args:
        values: Norms, `(m,)`; infinite where one was not finite.
        columns: Characters.
        low: The smallest norm of the scale, positive.
        high: The largest norm of the scale.

    Returns:
        The line.
    """
    position = _columns(len(values), columns)
    peaks = _largest(values, position, columns, gap_from=columns + 1)
    bad = _largest(np.where(np.isinf(values), 1.0, 0.0).tolist(), position, columns, gap_from=columns + 1) > 0
    heights = _Scale(math.log10(low) - _FLOOR, math.log10(high * (1 + 1e-9)), 1, is_empty=False).heights(peaks)
    return "".join(BAD if is_bad else _EIGHTHS[height] for height, is_bad in zip(heights, bad, strict=True))
