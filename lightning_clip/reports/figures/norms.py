"""`plot_norms` and `plot_distribution`: the norms of one optimizer over a run, and how they are distributed."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lightning_clip.reports.evidence import OptimizerEvidence
from lightning_clip.reports.figures.look import AFTER, BEFORE, LIMIT, MARK, SWITCH, plain_log, tidy, whole_numbers
from lightning_clip.reports.formats import number, percent
from lightning_clip.reports.summary import UNCLIPPED
from lightning_clip.reports.thresholds import thresholds_of

_BINS = 60
_QUANTILES = 1_001
_SHOWN_SPIKES = 3
_NEAR = 5.0  # a threshold is drawn if it is at most so many times above or below the norms
_STROKES = 1_000  # so many lie beside each other
_MOST_STROKES = 0.5  # where more steps are clipped, strokes become a bar


def plot_norms(axes: Any, one: OptimizerEvidence, title: str, switches: Sequence[float]) -> None:
    """Draw the norm before and after clipping and the threshold, and mark steps.

    Args:
        axes: Empty matplotlib axes.
        one: The optimizer.
        title: The title.
        switches: Where the strategy was switched, in steps of this optimizer.
    """
    part = one.part
    before, after = (np.where(np.isfinite(v), v, np.nan) for v in (np.array(part.before), np.array(part.after)))
    steps = np.arange(len(before)) * part.stride
    is_clipped = part.verdict is not UNCLIPPED
    axes.plot(steps, before, color=BEFORE, linewidth=1, label="before clipping" if is_clipped else None)
    axes.plot(steps, after, color=AFTER, linewidth=1.6, label="after clipping" if is_clipped else "not clipped")
    axes.fill_between(steps, after, before, color=BEFORE, alpha=0.2, linewidth=0)
    for step in steps[np.isinf(part.before)]:
        axes.axvline(step, color=MARK, linewidth=1, linestyle=":")
    if part.max > 0:
        axes.set_yscale("log")
    limits = axes.get_ylim()
    thresholds = np.array(thresholds_of(one))
    if (known := thresholds[np.isfinite(thresholds)]).size:
        near = known[(known > limits[0] / _NEAR) & (known < limits[1] * _NEAR)]
        name = "threshold" if near.size else "threshold, outside this picture"
        axes.plot(steps, thresholds, color=LIMIT, linewidth=1, linestyle=(0, (5, 3)), label=name)
        low, high = (near.min() / 1.1, near.max() * 1.1) if near.size else limits
        axes.set_ylim(min(limits[0], low), max(limits[1], high))  # a threshold far away must not squash the norms
    for place, step in enumerate(switches):
        label = {"label": "switch"} if not place else {}
        axes.axvline(step, color=SWITCH, linewidth=1.2, linestyle="-.", **label)
    _mark_steps(axes, one)
    tidy(axes, part.steps + part.empty)
    axes.set(title=title, xlabel="optimizer step", ylabel="2-norm of the gradients")
    plain_log(axes.yaxis)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.24), ncols=3, frameon=False, fontsize="small")


def _mark_steps(axes: Any, one: OptimizerEvidence) -> None:
    """Clipped steps as strokes below the curve, skipped ones as crosses, the highest spikes with their numbers."""
    offset = one.part.steps + one.part.empty - len(one.records)
    place = {record.step: position for position, record in enumerate(one.records, offset)}
    at_bottom = {"transform": axes.get_xaxis_transform(), "linestyle": "none", "clip_on": False}
    clipped = _apart([place[record.step] for record in one.records if record.clipped], one.part.steps)
    if clipped and not offset and one.part.clipped_fraction <= _MOST_STROKES:
        axes.plot(clipped, [0.02] * len(clipped), "|", color=BEFORE, markersize=5, label="clipped step", **at_bottom)
    skipped = [place[record.step] for record in one.records if record.skipped]
    if skipped:
        axes.plot(skipped, [0.06] * len(skipped), "x", color=MARK, markersize=5, label="skipped step", **at_bottom)
    worst = sorted(one.spikes, key=lambda spike: -spike.factor)[:_SHOWN_SPIKES]
    for spike in worst:
        where = place[spike.record.step], spike.record.norm_before
        axes.plot(*where, "o", color=MARK, markersize=5, fillstyle="none")
        axes.annotate(
            f"{spike.record.step:,}", where, xytext=(4, -3), textcoords="offset points", fontsize="x-small", color=MARK
        )


def _apart(steps: Sequence[int], total: int) -> list[int]:
    """The first of those steps whose strokes would lie on top of each other."""
    return list({step * _STROKES // max(total, _STROKES): step for step in reversed(steps)}.values())[::-1]


def plot_distribution(axes: Any, one: OptimizerEvidence) -> None:
    """Draw a histogram of the norms before clipping, with candidates for a threshold.

    Args:
        axes: Empty matplotlib axes.
        one: The optimizer.
    """
    part = one.part
    if part.max > 0:
        values = np.array(one.total.quantiles(*np.linspace(0, 1, _QUANTILES)))
        values = values[values > 0]
        edges = np.geomspace(values.min() / 1.05, values.max() * 1.05, _BINS)
        axes.hist(values, bins=edges, weights=np.full(len(values), part.steps / _QUANTILES), color="0.65")
        axes.set_xscale("log")
    candidates = {"median": part.median, "P90": part.p90, "P99": part.p99}
    for style, (name, value) in zip((":", "--", "-."), candidates.items(), strict=True):
        clips = percent(one.total.quantile_sketch.fraction_above(value)) if value > 0 else ""
        label = f"{name} {number(value)}" + (f": would clip {clips}" if clips else "")
        axes.axvline(value, color="black", linewidth=1, linestyle=style, label=label)
    if one.threshold is not None and np.isfinite(one.threshold):
        changed = len({record.threshold for record in one.records} - {None}) > 1
        share = f"clipped {percent(part.clipped_fraction)}"
        label = f"threshold {number(one.threshold)}"
        label = f"latest {label}; {share} overall" if changed else f"{label}: {share}"
        axes.axvline(one.threshold, color=AFTER, linewidth=1.8, label=label)
    tidy(axes)
    axes.set(title="Norms and thresholds", xlabel="2-norm before clipping", ylabel="steps")
    plain_log(axes.xaxis)
    whole_numbers(axes.yaxis)
    axes.legend(loc="upper left", bbox_to_anchor=(-0.1, -0.24), frameon=False, fontsize="small")
