"""`plot_curves`: what each strategy came to over the values of an axis."""

from typing import Any

from lightning_clip.studies.comparison.metrics import STEPS_TO_SOLVE, metric_title
from lightning_clip.studies.comparison.pivot import Pivot, value_name
from lightning_clip.studies.comparison.plotting import COLORS, MARKERS, is_wide
from lightning_clip.studies.comparison.standings import Standing

_WIDTH = 8.0
_HEIGHT = 3.2


def plot_curves(figure: Any, by_axis: Pivot, metric: str) -> None:
    """Draw a line for each strategy: the share of solved runs and the steps, or the median of a metric.

    Args:
        figure: An empty matplotlib figure.
        by_axis: The standings by the values of an axis of numbers.
        metric: What is drawn where it was not asked whether the task is solved.
    """
    asked = any(row.solved is not None for row in by_axis.standings)
    shown = [_plot_solved, _plot_steps] if asked else [_plot_metric]
    figure.set_size_inches(_WIDTH, _HEIGHT * len(shown) + 0.6)
    plots = figure.subplots(len(shown), squeeze=False, sharex=True)[:, 0]
    for plot, draw in zip(plots, shown, strict=True):
        draw(plot, by_axis, metric)
        plot.grid(alpha=0.25)
        plot.spines[["top", "right"]].set_visible(False)
    if any(row.all_diverged for row in by_axis.standings):
        plots[0].scatter([], [], marker="x", color="gray", label="every run diverged")
    plots[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False)
    last = plots[-1]
    if is_wide(by_axis.values):
        last.set_xscale("log")
    last.set_xticks(by_axis.values, [value_name(value) for value in by_axis.values])
    last.set_xticks([], minor=True)
    last.set_xlabel(by_axis.axis)


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
        plot.set_ylabel("share of the runs solved")
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
        spreads = [(value, row.spreads[metric]) for value, row in _sorted(own) if metric in row.spreads]
        found += [limit for _, spread in spreads for limit in (spread.min, spread.max)]
        _line(plot, number, len(by_axis.rows), name, [(value, spread.median) for value, spread in spreads])
        low, high = [spread.min for _, spread in spreads], [spread.max for _, spread in spreads]
        plot.fill_between(
            [value for value, _ in spreads], low, high, color=COLORS[number % len(COLORS)], alpha=0.15, linewidth=0
        )
        lost = [value for value, row in _sorted(own) if row.all_diverged]
        top = plot.get_xaxis_transform()
        plot.scatter(
            lost, [0.99] * len(lost), marker="x", color=COLORS[number % len(COLORS)], transform=top, clip_on=False
        )
    if is_wide(found):
        plot.set_yscale("log")
    plot.set_ylabel(f"{metric_title(metric)}\nmedian and range")


def _sorted(own: Any) -> list[tuple[float, Standing]]:
    return sorted(own.items())


def _line(plot: Any, number: int, lines: int, name: str, points: list[tuple[float, float]]) -> None:
    """A line that stays visible where a later one, which is thinner, lies on it."""
    left = lines - number - 1
    plot.plot(
        [x for x, _ in points],
        [y for _, y in points],
        color=COLORS[number % len(COLORS)],
        marker=MARKERS[number % len(MARKERS)],
        linewidth=1.8 + min(1.2 * left, 4),
        markersize=6 + min(3 * left, 9),
        label=name,
    )
