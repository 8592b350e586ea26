"""`plot_points`: what every run came to, a row for each strategy."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lightning_clip.studies.comparison.metrics import STEPS_TO_SOLVE, metric_title
from lightning_clip.studies.comparison.plotting import COLORS, is_wide
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.comparison.standings import Standing, by_group

_WIDTH = 8.0
_ROW = 0.3
_REST = 1.0
_APART = 0.14
_GOOD, _MIXED, _BAD = "#009E73", "#C77700", "#C03020"


def plot_points(figure: Any, results: Sequence[RunResult], rows: Sequence[Standing], metric: str) -> None:
    """Draw a plot for each group, with a row for each strategy and a point for each run.

    The points are steps to solve where it was asked whether the task is solved, and else values of a metric. A line
    marks the median; how many runs solved the task, or diverged, is said at the right.

    Args:
        figure: An empty matplotlib figure.
        results: The runs.
        rows: Their standings.
        metric: What is drawn where it was not asked whether the task is solved.
    """
    groups = by_group(rows)
    heights = [_ROW * len(own) + _REST for own in groups]
    figure.set_size_inches(_WIDTH, sum(heights) + 0.5)
    is_shared = len({_shown(own, metric) for own in groups}) == 1
    plots = figure.subplots(len(groups), squeeze=False, height_ratios=heights, sharex=is_shared)[:, 0]
    for plot, own in zip(plots, groups, strict=True):
        _plot_group(plot, own, results, metric)
        if len(groups) > 1:
            plot.set_title(own[0].group_name, loc="left", fontsize="medium")


def _plot_group(plot: Any, rows: Sequence[Standing], results: Sequence[RunResult], metric: str) -> None:
    shown = _shown(rows, metric)
    found: list[float] = []
    for place, row in enumerate(rows):
        values = [value for result in _runs(row, results) if (value := result.metrics.get(shown)) is not None]
        found += values
        heights = [place + offset for offset in _offsets(values)]
        plot.scatter(values, heights, color=COLORS[0], alpha=0.55, s=42, linewidth=0, zorder=3)
        if shown in row.spreads:
            plot.scatter(row.spreads[shown].median, place, marker="|", color="black", s=220, linewidth=2, zorder=4)
        text, color = _fate(row)
        plot.text(1.01, place, text, color=color, transform=plot.get_yaxis_transform(), va="center", fontsize="small")
    if is_wide(found):
        plot.set_xscale("log")
    elif shown == STEPS_TO_SOLVE and found:
        plot.set_xlim(0, max(plot.get_xlim()[1], 1.05 * max(found)))
    if not is_wide(found):
        plot.xaxis.set_major_formatter("{x:,g}")
    plot.set_yticks(range(len(rows)), [row.name for row in rows])
    plot.set_ylim(len(rows) - 0.4, -0.6)
    plot.tick_params(labelbottom=True)
    plot.set_xlabel(f"{metric_title(shown)}: each run, and the median")
    plot.grid(axis="y", alpha=0.25)
    plot.spines[["top", "right"]].set_visible(False)


def _shown(rows: Sequence[Standing], metric: str) -> str:
    return STEPS_TO_SOLVE if any(row.solved is not None for row in rows) else metric


def _offsets(values: Sequence[float]) -> list[float]:
    """How far points that lie on each other are moved apart, in rows."""
    seen: Counter[float] = Counter()
    offsets = []
    for value in values:
        offsets.append(_APART * (seen[value] - (values.count(value) - 1) / 2))
        seen[value] += 1
    return offsets


def _runs(row: Standing, results: Sequence[RunResult]) -> list[RunResult]:
    own = row.model, row.strategy, row.axes
    return [result for result in results if not result.diverged and (result.model, result.strategy, result.axes) == own]


def _fate(row: Standing) -> tuple[str, str]:
    """How the runs ended, where that is not seen from the points."""
    lost = [f"{row.diverged} diverged"] * bool(row.diverged) + [f"{row.dead} dead"] * bool(row.dead)
    if row.solved is not None:
        color = _GOOD if row.solved == row.runs else _MIXED if row.solved else _BAD
        return ", ".join([f"{row.solved} of {row.runs} solved", *lost]), color
    if row.diverged:
        return f"{row.diverged} of {row.runs} diverged", _BAD if row.all_diverged else _MIXED
    return "", _GOOD
