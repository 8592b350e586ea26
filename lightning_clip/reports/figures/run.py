"""`plot_report`: the record of a run as a matplotlib figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_clip._errors import ArgumentError
from lightning_clip.core.record.history import History
from lightning_clip.core.record.run_info import RunInfo
from lightning_clip.reports.evidence import Evidence, OptimizerEvidence
from lightning_clip.reports.figures.heat import plot_lags, plot_updates
from lightning_clip.reports.figures.look import AFTER, LOSS, MARK, figure_class, plain_log, tidy, whole_numbers
from lightning_clip.reports.figures.norms import plot_distribution, plot_norms
from lightning_clip.reports.formats import counted, shorten_all
from lightning_clip.reports.summary import ParameterSummary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_report"]

_SHOWN_PARAMETERS = 20
_NAME_WIDTH = 32


def plot_report(history: History, run: RunInfo) -> Figure:
    """Plot a run: norms, losses, gradients through time, updates and the share of each parameter.

    - For each optimizer, the norm before and after clipping with the threshold; clipped steps, skipped steps, switches
      and the highest spikes are marked. Beside it, the distribution of the norms with candidates for a threshold.
    - The loss of each step, if it is known; that of each optimizer where they have losses of their own, as in a GAN.
    - Lag × step: the gradient through time of each recurrent layer, if it was measured.
    - Parameter × step: the update ratio of each parameter, if it was measured.
    - The share of each parameter in the squared norm.

    Args:
        history: The record of a run.
        run: What was run.

    Returns:
        A matplotlib figure; save it with `savefig`.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: No optimizer step was recorded.
    """
    make_figure = figure_class("plot_report")
    evidence = Evidence.of(history, run)
    summary = evidence.summary
    if not summary.steps:
        raise ArgumentError("plot_report(history, run): no optimizer step was recorded, so there is nothing to plot.")
    shown = summary.parameters[:_SHOWN_PARAMETERS]
    losses = [
        one for one in evidence.leading or evidence.optimizers if any(record.loss is not None for record in one.records)
    ]
    lags = [own for own in evidence.profiles.values() if len(own) > 1]
    updates = [own for own in evidence.updates.values() if len(own) > 1]
    heights = [3.8] * len(summary.optimizers) + [2.2] * len(losses) + [2.8] * len(lags) + [3.0] * len(updates)
    heights += [1.2 + 0.25 * len(shown)] * bool(shown)
    figure = make_figure(figsize=(11, sum(heights)), layout="constrained")
    grid = figure.add_gridspec(len(heights), 2, width_ratios=(2, 1), height_ratios=heights)
    rows = iter(range(len(heights)))
    for one in evidence.optimizers:
        row = next(rows)
        several = len(evidence.optimizers) > 1
        name = f"{run.name_of(one.part.optimizer)}: norm" if several else "Norm"
        plot_norms(figure.add_subplot(grid[row, 0]), one, name, _switches(evidence, one))
        plot_distribution(figure.add_subplot(grid[row, 1]), one)
    for one in losses:
        owner = "" if evidence.leading else f"{run.name_of(one.part.optimizer)}: "
        _plot_losses(figure.add_subplot(grid[next(rows), :]), one, owner)
    for profiles in lags:
        plot_lags(figure.add_subplot(grid[next(rows), :]), profiles)
    for samples in updates:
        plot_updates(figure.add_subplot(grid[next(rows), :]), samples)
    if shown:
        of_what = (
            "of the squared norm of its optimizer" if len(evidence.optimizers) > 1 else "of the squared total norm"
        )
        _plot_parameters(figure.add_subplot(grid[next(rows), :]), shown, f"percent {of_what}")
    title = (run.model, run.brief_strategy or run.strategy, counted(summary.steps, "step"))
    figure.suptitle(", ".join(text for text in title if text))
    return figure


def _switches(evidence: Evidence, one: OptimizerEvidence) -> list[float]:
    """Where the strategy was switched, in steps of this optimizer; events count those of all optimizers."""
    own = one.part.steps + one.part.empty
    steps = [event.step for event in evidence.summary.events if event.kind == "switch"]
    return [step * own / max(evidence.summary.steps, 1) for step in steps]


def _plot_losses(axes: Any, one: OptimizerEvidence, owner: str) -> None:
    known = [(record.step, record.loss) for record in one.records if record.loss is not None]
    steps, losses = np.array(known, dtype=float).T
    axes.plot(steps, np.where(np.isfinite(losses), losses, np.nan), color=LOSS, linewidth=1)
    for step in steps[~np.isfinite(losses)][:1]:
        axes.axvline(step, color=MARK, linewidth=1, linestyle=":")
    finite = losses[np.isfinite(losses)]
    if finite.size and (finite > 0).all() and finite.max() > 20 * finite.min():
        axes.set_yscale("log")
    latest = "" if one.is_whole else f", the last {len(one.records):,} steps"
    tidy(axes)
    axes.set_xlim(one.records[0].step, one.records[-1].step + 1)
    whole_numbers(axes.xaxis)
    plain_log(axes.yaxis)
    axes.set(
        title=f"{owner}{'training' if owner else 'Training'} loss of each step{latest}",
        xlabel="optimizer step",
        ylabel="loss",
    )
    axes.grid(visible=True, alpha=0.25)


def _plot_parameters(axes: Any, parameters: tuple[ParameterSummary, ...], label: str) -> None:
    names = shorten_all([one.name for one in parameters], _NAME_WIDTH)
    axes.barh(range(len(parameters)), [100 * one.share for one in parameters], color=AFTER)
    axes.set_yticks(range(len(parameters)), names)
    axes.invert_yaxis()
    tidy(axes)
    axes.set(title="Share of each parameter", xlabel=label)
