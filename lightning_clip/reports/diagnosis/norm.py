"""Rules about the total norm: it became NaN or infinite, it exploded."""

import math
from collections.abc import Iterator

from lightning_clip.reports.diagnosis.rule import Finding, Severity
from lightning_clip.reports.evidence import Evidence, OptimizerEvidence
from lightning_clip.reports.formats import TIMES, count, counted, listed, number
from lightning_clip.reports.growth import LEVEL_FACTOR
from lightning_clip.reports.summary import FEW_STEPS, UNCLIPPED

_EXPLODED = "The norm exploded before this step; bring it under control. "
_SOUND = (
    "The norm was normal before, so check the data and the loss first (a bad batch, a logarithm of 0, a division by "
    "0). Trainer(detect_anomaly=True) names the operation. "
)
_UNKNOWN = "Trainer(detect_anomaly=True) names the operation that produced it. "
_AT_ONCE = "There was no good step before; check the data, the initial weights and the learning rate. "
_EARLY = (
    "This early in training, the steps are too long for these gradients: clip (GradientClipping(NormClip(1.0)) is the "
    "usual start) or lower the learning rate. If that does not help, check the data and the initial weights. "
)
_EARLY_CLIPPED = "This early in training, lower the learning rate, and check the data and the initial weights. "
_GUARD = 'NonFiniteGuard("skip") skips such steps and keeps the weights finite.'
_GUARDED = "The steps were skipped, so the weights are unharmed."


def not_finite(evidence: Evidence) -> Iterator[Finding]:
    """A gradient was NaN or infinite."""
    for one in evidence.optimizers:
        part = one.part
        if part.first_nonfinite is None:
            continue
        title = f"The gradient is {_kind(one, part.first_nonfinite)} at step {count(part.first_nonfinite)}"
        if part.nonfinite > 1:
            title += f", and NaN or infinite at {count(part.nonfinite)} of {counted(part.steps, 'step')}"
        skipped = part.skipped >= part.nonfinite
        yield Finding(
            Severity.WARNING if skipped and one.records[-1].finite else Severity.CRITICAL,
            f"{one.label}{title}",
            f"{_where(one, parameters=len(evidence.run.numels))} {_last_good(one.total.last_finite_norm)}",
            _cause(one) + (_GUARDED if skipped else _GUARD),
            kind="non-finite",
        )


def explodes(evidence: Evidence) -> Iterator[Finding]:
    """The norm grew without bound before the end, or before it became NaN or infinite."""
    for one in evidence.optimizers:
        growth, part = one.growth, one.part
        if growth is None:
            continue
        ended = "before it became NaN or infinite" if part.first_nonfinite is not None else "at the end"
        clipped = "" if part.verdict is UNCLIPPED else " (measured before clipping)"
        held = part.verdict is not UNCLIPPED and part.nonfinite == 0
        steps = counted(growth.steps, "step")
        yield Finding(
            Severity.WARNING if held else Severity.CRITICAL,
            f"{one.label}The norm exploded: {TIMES} {number(growth.factor)} in the last {steps}",
            f"It grew from {number(growth.first_norm)} to {number(growth.last_norm)} {ended}{clipped}.",
            _remedy(one),
            kind="explosion",
        )


def _remedy(one: OptimizerEvidence) -> str:
    if one.part.verdict is UNCLIPPED:
        return (
            "Clip: GradientClipping(NormClip(1.0)) is the usual start, and the report of the clipped run suggests a "
            "threshold. A lower learning rate also helps."
        )
    return "Clipping did not contain it: lower the learning rate, or clip at a lower threshold."


def _kind(one: OptimizerEvidence, step: int) -> str:
    for record in one.records:
        if record.step == step:
            return "NaN" if math.isnan(record.norm_before) else "infinite"
    return "NaN or infinite"


def _where(one: OptimizerEvidence, parameters: int) -> str:
    names = one.total.first_bad_names
    if not names:
        return "The affected parameters were not recorded."
    if 1 < len(names) == parameters:
        return f"All {len(names)} parameters were affected at once ({listed(names, at_most=2)})."
    return f"First seen in {listed(names)}."


def _last_good(norm: float | None) -> str:
    return "No step before it was finite." if norm is None else f"The last good norm was {number(norm)}."


def _cause(one: OptimizerEvidence) -> str:
    last = one.total.last_finite_norm
    if one.growth is not None:
        return _EXPLODED
    if last is None:
        return _AT_ONCE
    if one.part.first_nonfinite is not None and one.part.first_nonfinite < FEW_STEPS:
        return _EARLY if one.part.verdict is UNCLIPPED else _EARLY_CLIPPED
    return _SOUND if last <= LEVEL_FACTOR * one.part.median else _UNKNOWN
