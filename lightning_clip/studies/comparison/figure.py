"""`plot_comparison`: the results of a study as a matplotlib figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_clip._errors import ArgumentError
from lightning_clip.studies.comparison.metrics import main_metric, metric_names
from lightning_clip.studies.comparison.pivot import pivot
from lightning_clip.studies.comparison.plots import plot_curves, plot_points
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.comparison.standings import standings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_comparison"]

_CURVE_FROM = 3


def plot_comparison(results: Sequence[RunResult], title: str = "") -> Figure:
    """Plot the results of a study.

    If a numeric axis has at least three values, each model and strategy is a line: the number of solved runs, or the
    median of the main metric with a band from the smallest to the largest value. Otherwise each strategy is a row with
    a point for each run.

    Args:
        results: The results of the runs.
        title: The title, for instance the name of the study.

    Returns:
        A matplotlib figure; save it with `savefig`.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ArgumentError: There are no results.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'plot_comparison needs matplotlib: pip install "lightning-clip[plot]"', name="matplotlib"
        ) from error
    if not results:
        raise ArgumentError("plot_comparison(results): no run has finished, so there is nothing to plot.")
    rows, metric = standings(results), main_metric(metric_names(results))
    figure = Figure(layout="constrained")
    by_axis = pivot(rows)
    if by_axis is not None and by_axis.is_numeric and len(by_axis.values) >= _CURVE_FROM:
        plot_curves(figure, by_axis, metric)
    else:
        plot_points(figure, results, rows, metric)
    if title:
        figure.suptitle(title, fontweight="bold")
    return figure
