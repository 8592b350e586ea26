"""Rules about norms: the gradient became NaN or infinite; it is above 1 in every parameter."""

import math
from collections.abc import Iterator

from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.reports.diagnosis.lines import SKIP_NON_FINITE
from lightning_clip.reports.diagnosis.rule import Finding, Severity
from lightning_clip.reports.evidence import Evidence, OptimizerEvidence
from lightning_clip.reports.formats import count, counted, listed, number
from lightning_clip.reports.growth import LEVEL_FACTOR
from lightning_clip.reports.places import in_brackets
from lightning_clip.reports.summary import FEW_STEPS, UNCLIPPED

NORMS_BEFORE = 4
"""How many norms before a NaN are shown."""

HALF = 0.5
"""A loss that has come down to less has coped with long gradients."""

FEWEST_PARAMETERS = 3
"""In a network of fewer parameters, nothing is said about every parameter."""

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
_GUARD = "To skip such steps and keep the weights finite:"
_GUARDED = "The steps were skipped, so the weights are unharmed."


def not_finite(evidence: Evidence) -> Iterator[Finding]:
    """A gradient was NaN or infinite, and no explosion led to it."""
    for one in evidence.optimizers:
        part = one.part
        if part.first_nonfinite is None or one.growth is not None:
            continue
        first = one.first_bad
        title = f"The gradient is {_kind(first)} at step {count(part.first_nonfinite)}{in_brackets(first)}"
        if part.nonfinite > 1:
            title += f", and NaN or infinite at {count(part.nonfinite)} of {counted(part.steps, 'step')}"
        skipped = part.skipped >= part.nonfinite
        where = _where(one, parameters=len(evidence.run.numels))
        yield Finding(
            Severity.WARNING if skipped and one.records[-1].finite else Severity.CRITICAL,
            f"{one.label}{title}",
            f"{where} {_before(one)}{_loss(first)}",
            _cause(one) + (_GUARDED if skipped else _GUARD),
            kind="non-finite",
            code=() if skipped else SKIP_NON_FINITE,
        )


def large_norms(evidence: Evidence) -> Iterator[Finding]:
    """The gradient of every parameter is usually above 1, which often precedes an explosion."""
    courses = [one.losses for one in evidence.optimizers if one.losses is not None]
    if any(course.last < HALF * course.first for course in courses):
        return
    parameters = [one for one in evidence.parameters if one.steps >= FEW_STEPS]
    if len(parameters) < FEWEST_PARAMETERS or min(one.median for one in parameters) <= 1:
        return
    medians = [one.median for one in parameters]
    yield Finding(
        Severity.NOTE,
        "The gradient of every parameter is above 1",
        f"The median norms are {number(min(medians))} to {number(max(medians))}. Together with a loss that jumps, "
        "this is an early sign of an explosion.",
        "Common causes are unscaled inputs or targets, and a loss that is summed instead of averaged.",
        kind="large-norms",
        unless=("explosion", "exploded-early", "non-finite", "unscaled-targets", "spikes"),
    )


def _kind(record: StepRecord | None) -> str:
    if record is None:
        return "NaN or infinite"
    return "NaN" if math.isnan(record.norm_before) else "infinite"


def _where(one: OptimizerEvidence, parameters: int) -> str:
    names = one.total.first_bad_names
    if not names:
        return "The affected parameters were not recorded."
    if 1 < len(names) == parameters:
        return f"All {len(names)} parameters were affected at once ({listed(names, at_most=2)})."
    return f"First seen in {listed(names)}."


def _before(one: OptimizerEvidence) -> str:
    """The norms of the steps before."""
    lead_up = list(one.landmarks.lead_up) if one.first_bad is not None else []
    norms = [record.norm_before for record in lead_up[-NORMS_BEFORE:]]
    if len(norms) > 1:
        return f"The norms before it were {listed([number(norm) for norm in norms], at_most=NORMS_BEFORE)}."
    last = one.total.last_finite_norm
    return "No step before it was finite." if last is None else f"The last good norm was {number(last)}."


def _loss(record: StepRecord | None) -> str:
    if record is None or record.loss is None:
        return ""
    if math.isfinite(record.loss):
        return (
            f" The loss was still {number(record.loss)}, so look at the backward pass: some slope is NaN or "
            "infinite, like that of a square root at 0."
        )
    return " The loss was not finite either, so the cause is in the data or the forward pass."


def _cause(one: OptimizerEvidence) -> str:
    last = one.total.last_finite_norm
    if last is None:
        return _AT_ONCE
    if one.part.first_nonfinite is not None and one.part.first_nonfinite < FEW_STEPS:
        return _EARLY if one.part.verdict is UNCLIPPED else _EARLY_CLIPPED
    return _SOUND if last <= LEVEL_FACTOR * one.part.median else _UNKNOWN
