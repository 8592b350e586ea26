"""Rules about the total norm: it is not finite, it explodes."""

import math

from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.diagnosis.rule import Finding, Severity
from lightning_clip.reports.formats import TIMES, count, counted, listed, number
from lightning_clip.reports.growth import LEVEL_FACTOR
from lightning_clip.reports.summary import FEW_STEPS, UNCLIPPED

_EXPLODED = "It is the end of an explosion: the norm has to be kept down. "
_SOUND = (
    "The norm was normal before: look at the data and the loss first (a bad batch, a logarithm or division of 0). "
    "Trainer(detect_anomaly=True) names the operation. "
)
_UNKNOWN = "Trainer(detect_anomaly=True) names the operation that made it. "
_AT_ONCE = "There was no good step: check the data, the initial weights and the learning rate. "
_EARLY = (
    "So soon after the start the steps are too long for these gradients: clip, GradientClipping(NormClip(1.0)) is the "
    "usual start, or lower the learning rate. If that changes nothing, check the data and the initial weights. "
)
_EARLY_CLIPPED = "So soon after the start: lower the learning rate, and check the data and the initial weights. "
_GUARD = 'NonFiniteGuard("skip") leaves out such steps and keeps the weights finite.'
_GUARDED = "The skipped steps left the weights as they were."


def not_finite(evidence: Evidence) -> Finding | None:
    """A gradient was NaN or infinite."""
    part, total = evidence.part, evidence.total
    if part.first_nonfinite is None:
        return None
    kind = _kind(evidence, part.first_nonfinite)
    title = f"The gradient is {kind} at step {count(part.first_nonfinite)}"
    if part.nonfinite > 1:
        title += f", and not finite at {count(part.nonfinite)} of {counted(part.steps, 'step')}"
    skipped = part.skipped >= part.nonfinite
    return Finding(
        Severity.WARNING if skipped and not _ended_so(evidence) else Severity.CRITICAL,
        evidence.titled(title),
        f"{_where(evidence)} {_last_good(total.last_finite_norm)}",
        _cause(evidence) + (_GUARDED if skipped else _GUARD),
    )


def explodes(evidence: Evidence) -> Finding | None:
    """The norm grew without bound before the end, or before it was not finite."""
    growth, part = evidence.growth, evidence.part
    if growth is None:
        return None
    ended = "before it was not finite" if part.first_nonfinite is not None else "at the end"
    clipped = "" if part.verdict is UNCLIPPED else " (measured before clipping)"
    held = part.verdict is not UNCLIPPED and part.nonfinite == 0
    return Finding(
        Severity.WARNING if held else Severity.CRITICAL,
        evidence.titled(
            f"The norm exploded: {TIMES} {number(growth.factor)} in the last {counted(growth.steps, 'step')}"
        ),
        f"It grew from {number(growth.first_norm)} to {number(growth.last_norm)} {ended}{clipped}.",
        _remedy(evidence),
    )


def _remedy(evidence: Evidence) -> str:
    growth = evidence.growth
    if evidence.part.verdict is UNCLIPPED and growth is not None:
        return (
            "Clip: GradientClipping(NormClip(1.0)) is the usual start; the report of the clipped run suggests a "
            "threshold. A lower learning rate also helps."
        )
    return "Clipping did not hold it: lower the learning rate, or clip at a lower threshold."


def _ended_so(evidence: Evidence) -> bool:
    """Whether the last step was not finite, so that the run did not get over it."""
    own = (record for record in reversed(evidence.history.records) if record.optimizer == evidence.part.optimizer)
    return not next(own).finite


def _kind(evidence: Evidence, step: int) -> str:
    for record in evidence.history:
        if record.step == step and record.optimizer == evidence.part.optimizer:
            return "NaN" if math.isnan(record.norm_before) else "infinite"
    return "not finite"


def _where(evidence: Evidence) -> str:
    names = evidence.total.first_bad_names
    if not names:
        return "Which parameters is not on record."
    if 1 < len(names) == len(evidence.summary.run.numels):
        return f"It was so in all {len(names)} parameters at once ({listed(names, at_most=2)})."
    return f"First in {listed(names)}."


def _last_good(norm: float | None) -> str:
    return "No step before it was finite." if norm is None else f"The last good norm was {number(norm)}."


def _cause(evidence: Evidence) -> str:
    last = evidence.total.last_finite_norm
    if evidence.growth is not None:
        return _EXPLODED
    if last is None:
        return _AT_ONCE
    if evidence.part.first_nonfinite is not None and evidence.part.first_nonfinite < FEW_STEPS:
        return _EARLY if evidence.part.verdict is UNCLIPPED else _EARLY_CLIPPED
    return _SOUND if last <= LEVEL_FACTOR * evidence.part.median else _UNKNOWN
