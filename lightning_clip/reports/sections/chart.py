"""`draw_chart`: a norm over a run in characters: its line, the threshold, and between them what clipping cut off."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lightning_clip.reports.formats import TIMES, count
from lightning_clip.reports.sections.scale import FLOOR, LogScale

Role = Literal["axis", "norm", "cut", "threshold", "bad", "switch"]
Segment = tuple[str, Role]

LINE, SOLID = "▄", "█"
SHADED = "░"
LIMIT = "╌"
BAD = TIMES
SWITCH = "▲"

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_HALVES = "▄▀"  # the lower half of a line, the upper half
_GAP_FROM = 3  # columns a step needs before steps are set apart


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, line by line, and what it shows.

    Attributes:
        lines: The lines, each as pieces of text with their role.
        has_cut: Whether clipping cut something off.
        has_uncut: Whether there are columns in which it cut nothing off.
        has_bad: Whether a norm was NaN or infinite.
        has_threshold: Whether a threshold is drawn.
        steps_per_column: Number of steps per column, at least 1.
    """

    lines: tuple[tuple[Segment, ...], ...]
    has_cut: bool
    has_uncut: bool
    has_bad: bool
    has_threshold: bool
    steps_per_column: int


def draw_chart(
    before: Sequence[float],
    after: Sequence[float],
    *,
    steps: int,
    width: int,
    height: int = 8,
    switches: Sequence[float] = (),
    thresholds: Sequence[float] = (),
) -> Chart:
    """Draw a norm over a run on a logarithmic scale.

    Args:
        before: Norms before clipping, `(m,)`; infinite where one was not finite.
        after: Norms after clipping, `(m,)`.
        steps: Number of steps that they cover.
        width: Characters per line.
        height: Lines above the axis.
        switches: Where the strategy was switched, each in [0, 1] of the run.
        thresholds: The threshold in force, `(m,)`; NaN where it is unknown. It is drawn where it is within the scale.

    Returns:
        The chart.
    """
    scale = LogScale.of(before, after, height)
    labels = scale.labels()
    margin = max(map(len, labels)) + 1
    columns = max(1, width - margin - 1)
    position = _columns(len(before), columns)
    high, low = _largest(before, position, columns), _largest(after, position, columns)
    limit = (
        _largest(thresholds, position, columns, gap_from=columns + 1) if len(thresholds) else np.full(columns, np.nan)
    )
    bad = _largest(np.where(np.isinf(before), 1.0, 0.0).tolist(), position, columns) > 0
    table = _cells(scale.heights(high), scale.heights(low), scale.heights(limit, within=True), bad, height)
    lines = []
    for row in range(height - 1, -1, -1):
        label, tick = labels[row], "┤" if labels[row] else "│"
        lines.append(((f"{label:>{margin - 1}} {tick}", "axis"), *_merged(table[row])))
    lines.append(((" " * margin + "└", "axis"), *_merged(_axis(columns, switches))))
    lines.append(((" " * (margin + 1) + _steps_line(steps, columns), "axis"),))
    roles = {role for line in table for _, role in line}
    cut = np.nan_to_num(high) > np.nan_to_num(low)
    uncut = ~cut & ~np.isnan(high)
    has_threshold, per_column = "threshold" in roles, max(1, round(steps / columns))
    return Chart(tuple(lines), bool(cut.any()), bool(uncut.any()), bool(bad.any()), has_threshold, per_column)


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
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    limit: NDArray[np.int64],
    bad: NDArray[np.bool_],
    height: int,
) -> list[list[Segment]]:
    """The cells of each line, from the bottom up; heights are in eighths of a line."""
    table: list[list[Segment]] = [[] for _ in range(height)]
    halves = np.minimum(np.maximum(-(-before // 4) - 1, 0), 2 * height - 1)  # the half line in which each norm lies
    halves[before == 0] = -1
    lower = _connected(halves)
    for column, (top, bottom, threshold) in enumerate(
        zip(before.tolist(), after.tolist(), limit.tolist(), strict=True)
    ):
        is_cut = bottom < top
        kept = (bottom - 1) // 8 if bottom else -1
        edge = (threshold - 1) // 8 if threshold else -1
        high, low = int(halves[column]), int(halves[column] if is_cut else lower[column])
        for row in range(height):
            filled = [half for half in (2 * row, 2 * row + 1) if top and low <= half <= high]
            if bad[column] and row == height - 1:
                cell: Segment = (BAD, "bad")
            elif filled:
                cell = (SOLID if len(filled) == 2 else _HALVES[filled[0] % 2], "cut" if is_cut else "norm")
            elif row == edge:
                cell = (LIMIT, "threshold")
            else:
                cell = (SHADED, "cut") if is_cut and kept < row < high // 2 else (" ", "norm")
            table[row].append(cell)
    return table


def _connected(halves: NDArray[np.int64]) -> NDArray[np.int64]:
    """How far down the line goes in each column, so that it meets a lower neighbor; -1 is no value."""
    lower = halves.copy()
    for neighbor in (np.append(-1, halves[:-1]), np.append(halves[1:], -1)):
        reaches = (neighbor >= 0) & (neighbor < halves)
        lower = np.where(reaches, np.minimum(lower, neighbor + 1), lower)
    return lower


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
    heights = LogScale(math.log10(low) - FLOOR, math.log10(high * (1 + 1e-9)), 1, is_empty=False).heights(peaks)
    return "".join(BAD if is_bad else _EIGHTHS[height] for height, is_bad in zip(heights, bad, strict=True))
