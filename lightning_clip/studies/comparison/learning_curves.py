"""`plot_learning_curves`: the error on training and validation data over the epochs, a plot for each strategy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from lightning_clip.core.record.measurements import Measurement
from lightning_clip.reports.formats import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEARNING_CURVE = "learning-curve"
"""The kind of the measurements that `LearningCurves` takes."""

# Blue and vermilion of Okabe and Ito; dashes tell them apart in grayscale.
_STYLES = {"train": ("#0072B2", "-"), "validation": ("#D55E00", (0, (4, 1.5)))}
_WIDTH, _HEIGHT = 4.0, 2.7
_ROOM = 1.2


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """The learning curve of one run.

    Attributes:
        epochs: The numbers of the epochs, from 1.
        values: The error after each epoch, for `"train"` and `"validation"`; each as long as `epochs`.
        diverged_at_step: The optimizer step at which the run diverged; `None` if it did not.
    """

    epochs: Sequence[float]
    values: Mapping[str, Sequence[float]]
    diverged_at_step: int | None = None

    @classmethod
    def of(cls, samples: Sequence[Measurement], diverged_at_step: int | None = None) -> LearningCurve:
        """Return the curve in the measurements of a run; samples that lack a value are left out."""
        whole = [one.data for one in samples if one.kind == LEARNING_CURVE and _STYLES.keys() <= one.data.keys()]
        columns = {name: [float(data[name]) for data in whole] for name in ("epoch", *_STYLES)}  # type: ignore[arg-type]
        return cls(columns.pop("epoch"), columns, diverged_at_step)


def plot_learning_curves(curves: Mapping[str, Sequence[LearningCurve]], title: str = "", metric: str = "MSE") -> Figure:
    """Plot learning curves: thin lines for each run, thick lines for their median.

    Args:
        curves: The curves of the runs of each strategy, by its name.
        title: The title, for instance the name of the study.
        metric: What is drawn, in words.

    Returns:
        A matplotlib figure.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    columns = min(len(curves), 2)
    rows = -(-len(curves) // columns)
    figure = Figure(layout="constrained", figsize=(_WIDTH * columns, _HEIGHT * rows + 0.4))
    plots = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat
    last = max((epoch for runs in curves.values() for run in runs for epoch in run.epochs), default=1.0)
    for plot, (name, runs) in zip(plots, curves.items(), strict=False):
        _plot(plot, name, runs)
        plot.set_xlim(0, last * _ROOM)
        plot.set_xticks([tick for tick in plot.get_xticks() if tick <= last])
    for plot in list(plots)[len(curves) :]:
        plot.set_visible(False)
    figure.supxlabel("epoch", fontsize="medium")
    figure.supylabel(f"{metric} (log scale)", fontsize="medium")
    if title:
        figure.suptitle(title, fontweight="bold")
    return figure


def _plot(plot: Any, name: str, runs: Sequence[LearningCurve]) -> None:
    plot.set_title(name, loc="left", fontsize="medium")
    plot.set_yscale("log")
    plot.grid(alpha=0.25)
    plot.spines[["top", "right"]].set_visible(False)
    finished = [run for run in runs if run.diverged_at_step is None and run.epochs]
    lost = [run.diverged_at_step for run in runs if run.diverged_at_step is not None]
    if lost:
        steps = f"step {min(lost)}" if min(lost) == max(lost) else f"steps {min(lost)} to {max(lost)}"
        words = f"{len(lost)} of {len(runs)} runs diverged,\nat {steps}"
        plot.text(0.5, 0.5 if not finished else 0.93, words, transform=plot.transAxes, ha="center", va="center")
    if not finished:
        return
    ends = {}
    for split, (color, dashes) in _STYLES.items():
        for run in finished:
            plot.plot(run.epochs, run.values[split], color=color, linewidth=0.6, alpha=0.35)
        longest = max((run.epochs for run in finished), key=len)
        values = [[run.values[split][i] for run in finished if i < len(run.epochs)] for i in range(len(longest))]
        middle = [median(own) for own in values]
        plot.plot(longest, middle, color=color, linewidth=2, linestyle=dashes)
        ends[split] = (longest[-1], middle[-1], color)
    lower, upper = sorted(ends, key=lambda split: ends[split][1])
    for split, align in ((lower, "top"), (upper, "bottom")):
        epoch, value, color = ends[split]
        label = f" {split}\n {number(value)}"
        plot.annotate(label, (epoch, value), color=color, va=align, fontsize="small", annotation_clip=False)
