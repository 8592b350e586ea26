"""The two kinds of figures of a study: `plot_curves` over the values of an axis, `plot_points` of single runs."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from lightning_clip.studies.comparison.metrics import STEPS_TO_SOLVE, metric_number, metric_title
from lightning_clip.studies.comparison.pivot import Pivot, value_name, varied_axes
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.comparison.standings import Standing, by_group

# The palette of Okabe and Ito, which color-blind people can tell apart, without its yellow.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_GOOD, _MIXED, _BAD, _PLAIN = "#009E73", "#C77700", "#C03020", "#333333"

_WIDTH = 8.0
_CURVE_HEIGHT = 3.2
_ROW_HEIGHT, _AXIS_HEIGHT = 0.3, 1.0
_APART = 0.14
_WIDE = 10**1.5
_LEGEND_COLUMNS = 4


def plot_curves(figure: Any, by_axis: Pivot, metric: str) -> None:
    """Draw a line for each strategy: the solved runs and the steps they took, or the median of a metric.

    Each combination of the values of other axes has plots of its own.

    Args:
        figure: An empty matplotlib figure.
        by_axis: The standings by the values of a numeric axis.
        metric: The metric to draw if there is no task to solve.
    """
    solvable = any(row.solved is not None for row in by_axis.standings)
    kinds = [_plot_solved, _plot_steps] if solvable else [_plot_metric]
    panels = _panels(by_axis)
    figure.set_size_inches(_WIDTH, _CURVE_HEIGHT * len(kinds) * len(panels) + 0.6)
    plots = figure.subplots(len(kinds) * len(panels), squeeze=False, sharex=True)[:, 0]
    shown = [(title, part, draw) for title, part in panels.items() for draw in kinds]
    for plot, (title, part, draw) in zip(plots, shown, strict=True):
        draw(plot, part, metric)
        plot.grid(alpha=0.25)
        plot.spines[["top", "right"]].set_visible(False)
        plot.set_title(title, loc="right", fontsize="medium")
    if any(row.all_diverged for row in by_axis.standings):
        plots[0].scatter([], [], marker="x", color="gray", label="every run diverged")
    entries = len(plots[0].get_legend_handles_labels()[0])
    columns = -(-entries // -(-entries // _LEGEND_COLUMNS))  # as few rows as possible, all about as long
    plots[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False)
    last = plots[-1]
    if is_wide(by_axis.values):
        last.set_xscale("log")
    last.set_xticks(by_axis.values, [value_name(value) for value in by_axis.values])
    last.set_xticks([], minor=True)
    last.set_xlabel(by_axis.axis)


def _panels(by_axis: Pivot) -> dict[str, Pivot]:
    """A part of the lines for each combination of the other axes, by its name."""
    axes = [name for name in varied_axes(by_axis.standings) if name != by_axis.axis]
    panels: dict[str, Pivot] = {}
    for name, own in by_axis.rows.items():
        first = next(iter(own.values()))
        title = ", ".join(f"{axis} {value_name(first.axes[axis])}" for axis in axes if axis in first.axes)
        rows = panels[title].rows if title in panels else {}
        panels[title] = replace(by_axis, rows={**rows, name.removesuffix(f", {title}"): own})
    return panels


def _plot_solved(plot: Any, by_axis: Pivot, metric: str) -> None:
    for number, (name, own) in enumerate(by_axis.rows.items()):
        _line(plot, number, len(by_axis.rows), name, [(value, row.solved_fraction) for value, row in _sorted(own)])
    runs = {row.runs for row in by_axis.standings}
    if len(runs) == 1:
        (most,) = runs
        every = max(1, most // 5)
        ticks = [*range(0, most, every), most]
        plot.set_yticks([tick / most for tick in ticks], map(str, ticks))
        plot.set_ylabel(f"runs solved, of {most}")
    else:
        plot.set_ylabel("fraction of runs solved")
    plot.set_ylim(-0.06, 1.06)


def _plot_steps(plot: Any, by_axis: Pivot, metric: str) -> None:
    _plot_metric(plot, by_axis, STEPS_TO_SOLVE)
    plot.set_ylabel("steps to solve\nmedian and range")
    if plot.get_yscale() == "linear":
        plot.set_ylim(bottom=0)
        plot.yaxis.set_major_formatter("{x:,.0f}")


def _plot_metric(plot: Any, by_axis: Pivot, metric: str) -> None:
    found: list[float] = []
    for number, (name, own) in enumerate(by_axis.rows.items()):
        color = _COLORS[number % len(_COLORS)]
        spreads = [(value, row.spreads[metric]) for value, row in _sorted(own) if metric in row.spreads]
        found += [limit for _, spread in spreads for limit in (spread.min, spread.max)]
        _line(plot, number, len(by_axis.rows), name, [(value, spread.median) for value, spread in spreads])
        low, high = [spread.min for _, spread in spreads], [spread.max for _, spread in spreads]
        plot.fill_between([value for value, _ in spreads], low, high, color=color, alpha=0.15, linewidth=0)
        lost = [value for value, row in _sorted(own) if row.all_diverged]
        top = plot.get_xaxis_transform()
        plot.scatter(lost, [0.99] * len(lost), marker="x", color=color, transform=top, clip_on=False)
    if is_wide(found):
        plot.set_yscale("log")
    plot.set_ylabel(f"{metric_title(metric)}\nmedian and range")


def _sorted(own: Any) -> list[tuple[float, Standing]]:
    return sorted(own.items())


def _line(plot: Any, number: int, lines: int, name: str, points: list[tuple[float, float]]) -> None:
    """Draw a line that stays visible where a later, thinner line covers it."""
    left = lines - number - 1
    plot.plot(
        [x for x, _ in points],
        [y for _, y in points],
        color=_COLORS[number % len(_COLORS)],
        marker=_MARKERS[number % len(_MARKERS)],
        linewidth=1.6 + min(0.8 * left, 3),
        markersize=5 + min(2 * left, 7),
        label=name,
    )


def plot_points(figure: Any, results: Sequence[RunResult], rows: Sequence[Standing], metric: str) -> None:
    """Draw a plot for each group, with a row for each strategy and a point for each run.

    The points are the steps to solve the task or, without a task to solve, the values of a metric. A line marks the
    median. The text at the right is the median, or says how many runs solved the task, and how many diverged.

    Args:
        figure: An empty matplotlib figure.
        results: The results of the runs.
        rows: Their standings.
        metric: The metric to draw if there is no task to solve.
    """
    groups = by_group(rows)
    heights = [_ROW_HEIGHT * len(own) + _AXIS_HEIGHT for own in groups]
    figure.set_size_inches(_WIDTH, sum(heights) + 0.5)
    is_shared = len({_shown(own, metric) for own in groups}) == 1
    plots = figure.subplots(len(groups), squeeze=False, height_ratios=heights, sharex=is_shared)[:, 0]
    for plot, own in zip(plots, groups, strict=True):
        _plot_group(plot, own, results, metric)
        if len(groups) > 1:
            plot.set_title(own[0].group_name, loc="left", fontsize="medium")
    for plot in plots:
        if plot.get_xscale() == "linear":  # plots that share an axis share its scale
            plot.xaxis.set_major_formatter("{x:,g}")


def _plot_group(plot: Any, rows: Sequence[Standing], results: Sequence[RunResult], metric: str) -> None:
    shown = _shown(rows, metric)
    found: list[float] = []
    for place, row in enumerate(rows):
        values = [value for result in _runs(row, results) if (value := result.metrics.get(shown)) is not None]
        found += values
        heights = [place + offset for offset in _offsets(values)]
        plot.scatter(values, heights, color=_COLORS[0], alpha=0.55, s=42, linewidth=0, zorder=3)
        if shown in row.spreads:
            plot.scatter(row.spreads[shown].median, place, marker="|", color="black", s=220, linewidth=2, zorder=4)
        text, color = _outcome(row, shown)
        plot.text(1.01, place, text, color=color, transform=plot.get_yaxis_transform(), va="center", fontsize="small")
    if is_wide(found):
        plot.set_xscale("log")
    elif shown == STEPS_TO_SOLVE and found:
        plot.set_xlim(0, max(plot.get_xlim()[1], 1.05 * max(found)))
    plot.set_yticks(range(len(rows)), [row.name for row in rows])
    plot.set_ylim(len(rows) - 0.4, -0.6)
    plot.tick_params(labelbottom=True)
    plot.set_xlabel(f"{metric_title(shown)}: each run, and the median")
    plot.grid(axis="y", alpha=0.25)
    plot.spines[["top", "right"]].set_visible(False)


def _shown(rows: Sequence[Standing], metric: str) -> str:
    return STEPS_TO_SOLVE if any(row.solved is not None for row in rows) else metric


def _offsets(values: Sequence[float]) -> list[float]:
    """How far to move equal points apart, in rows."""
    seen: Counter[float] = Counter()
    offsets = []
    for value in values:
        offsets.append(_APART * (seen[value] - (values.count(value) - 1) / 2))
        seen[value] += 1
    return offsets


def _runs(row: Standing, results: Sequence[RunResult]) -> list[RunResult]:
    own = row.model, row.strategy, row.axes
    return [result for result in results if not result.diverged and (result.model, result.strategy, result.axes) == own]


def _outcome(row: Standing, metric: str) -> tuple[str, str]:
    """The median, how the runs ended if the points do not show it, and the color of the text."""
    lost = [f"{row.diverged} diverged"] * bool(row.diverged) + [f"{row.dead} dead"] * bool(row.dead)
    if row.solved is not None:
        color = _GOOD if row.solved == row.runs else _MIXED if row.solved else _BAD
        return ", ".join([f"{row.solved} of {row.runs} solved", *lost]), color
    middle = [metric_number(metric, row.spreads[metric].median)] if metric in row.spreads else []
    lost = [f"{row.diverged} of {row.runs} diverged"] * bool(row.diverged)
    color = _BAD if row.all_diverged else _MIXED if row.diverged else _PLAIN
    return ", ".join([*middle, *lost]), color


def is_wide(values: Iterable[float | str]) -> bool:
    """Whether positive numbers need a logarithmic scale, because they span more than one and a half decades.

    Example:
        >>> is_wide([1, 20]), is_wide([1, 40]), is_wide([0, 40]), is_wide([])
        (False, True, False, False)
    """
    numbers = [float(value) for value in values]
    return bool(numbers) and min(numbers) > 0 and max(numbers) / min(numbers) > _WIDE
