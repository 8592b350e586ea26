"""`plot_report`: the record of a run as a matplotlib figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_clip._errors import ArgumentError
from lightning_clip.core.record.history import History
from lightning_clip.core.record.run_info import RunInfo
from lightning_clip.reports.formats import counted, number, shorten
from lightning_clip.reports.summary import OptimizerSummary, ParameterSummary, summarize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_report"]


_SHOWN_PARAMETERS = 20
_NAME_WIDTH = 32
_BINS = 60
_QUANTILES = 1_001


def plot_report(history: History, run: RunInfo) -> Figure:
    """Plot the norm before and after clipping over the run, its distribution, and the share of each parameter.

    Args:
        history: The record of a run.
        run: What was run.

    Returns:
        A matplotlib figure with a row of two plots per optimizer and one plot of the parameters; save it with
        `savefig`.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: No optimizer step was recorded.
    """
    make_figure = figure_class("plot_report")
    summary = summarize(history, run)
    if not summary.steps:
        raise ArgumentError("plot_report(history, run): no optimizer step was recorded, so there is nothing to plot.")
    shown = summary.parameters[:_SHOWN_PARAMETERS]
    rows = len(summary.optimizers) + bool(shown)
    heights = [3.2] * len(summary.optimizers) + [1.2 + 0.25 * len(shown)] * bool(shown)
    figure = make_figure(figsize=(11, sum(heights)), layout="constrained")
    grid = figure.add_gridspec(rows, 2, width_ratios=(2, 1), height_ratios=heights)
    for row, part in enumerate(summary.optimizers):
        _plot_trajectory(figure.add_subplot(grid[row, 0]), part)
        _plot_distribution(figure.add_subplot(grid[row, 1]), history, part)
    if shown:
        _plot_parameters(figure.add_subplot(grid[-1, :]), shown)
    figure.suptitle(
        ", ".join(
            text for text in (run.model, run.brief_strategy or run.strategy, counted(summary.steps, "step")) if text
        )
    )
    return figure


def figure_class(caller: str) -> type[Figure]:
    """Import matplotlib, and return its class of figures.

    Args:
        caller: The function that needs it.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; says how to install it.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{caller} needs matplotlib: pip install "lightning-clip[plot]"', name="matplotlib"
        ) from error
    return Figure


def _plot_trajectory(axes: Any, part: OptimizerSummary) -> None:
    before, after = (np.where(np.isfinite(v), v, np.nan) for v in (np.array(part.before), np.array(part.after)))
    steps = np.arange(len(before)) * part.stride
    axes.plot(steps, before, color="tab:orange", linewidth=1, label="before clipping")
    axes.plot(steps, after, color="tab:blue", linewidth=1.5, label="after clipping")
    axes.fill_between(steps, after, before, color="tab:orange", alpha=0.2, linewidth=0)
    for step in steps[np.isinf(part.before)]:
        axes.axvline(step, color="tab:red", linewidth=1, linestyle=":")
    if part.max > 0:
        axes.set_yscale("log")
    axes.set(title=f"Optimizer {part.optimizer}: norm of the gradients", xlabel="optimizer step", ylabel="2-norm")
    axes.legend()


def _plot_distribution(axes: Any, history: History, part: OptimizerSummary) -> None:
    quantiles = {"median": part.median, "P90": part.p90, "P99": part.p99}
    if part.max > 0:
        values = np.array(history.aggregates[part.optimizer].quantiles(*np.linspace(0, 1, _QUANTILES)))
        values = values[values > 0]
        edges = np.geomspace(values.min() / 1.05, values.max() * 1.05, _BINS)
        axes.hist(values, bins=edges, weights=np.full(len(values), part.steps / _QUANTILES), color="tab:gray")
        axes.set_xscale("log")
    for style, (name, value) in zip(("-", "--", ":"), quantiles.items(), strict=True):
        axes.axvline(value, color="black", linewidth=1, linestyle=style, label=f"{name} {number(value)}")
    axes.set(title="Before clipping", xlabel="2-norm", ylabel="steps")
    axes.legend()


def _plot_parameters(axes: Any, parameters: tuple[ParameterSummary, ...]) -> None:
    names = [shorten(one.name, _NAME_WIDTH) for one in parameters]
    axes.barh(range(len(parameters)), [100 * one.share for one in parameters], color="tab:blue")
    axes.set_yticks(range(len(parameters)), names)
    axes.invert_yaxis()
    axes.set(title="Share of each parameter", xlabel="percent of the squared total norm")
