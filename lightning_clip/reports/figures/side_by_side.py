"""`plot_records`: norms and losses of several runs on the same axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_clip.reports.comparison import Comparison
from lightning_clip.reports.figures.look import figure_class, plain_log, tidy, whole_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The palette of Okabe and Ito (2008), whose colors stay apart for color-blind readers; the styles do so in gray.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_STYLES = ("-", "--", "-.", ":")


def plot_records(comparison: Comparison) -> Figure:
    """Plot the norm before clipping of each run over the steps, and the losses below it.

    Args:
        comparison: The runs.

    Returns:
        A matplotlib figure; save it with `savefig`.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    figure = figure_class("plot_records")(figsize=(11, 6), layout="constrained")
    norms, losses = figure.subplots(2, 1, sharex=True)
    has_loss = False
    for number, (name, evidence) in enumerate(zip(comparison.names, comparison.records, strict=True)):
        look = {"color": _COLORS[number % len(_COLORS)], "linestyle": _STYLES[number % len(_STYLES)], "linewidth": 1.2}
        for part in evidence.summary.optimizers[:1]:
            values = np.array(part.before)
            norms.plot(np.arange(len(values)) * part.stride, np.where(np.isfinite(values), values, np.nan), **look)
        known = [(one.step, one.loss) for one in evidence.history if one.loss is not None]
        has_loss = has_loss or bool(known)
        losses.plot(*np.array(known).reshape(-1, 2).T, label=name, **look)
    _finish(norms, "norm before clipping")
    _finish(losses, "loss")
    losses.set_xlabel("optimizer step")
    whole_numbers(losses.xaxis)
    losses.set_visible(has_loss)
    figure.legend(*losses.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def _finish(axes: Any, label: str) -> None:
    axes.set_ylabel(label)
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines] or [np.zeros(0)])
    if (values > 0).any() and not (values <= 0).any():
        axes.set_yscale("log")
        plain_log(axes.yaxis)
    axes.grid(visible=True, alpha=0.3)
    tidy(axes)
