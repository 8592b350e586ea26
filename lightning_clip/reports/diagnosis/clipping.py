"""Rules about clipping: it binds mostly, it never binds, steps are skipped."""

from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.diagnosis.rule import Finding, Severity
from lightning_clip.reports.formats import count, counted, literal, number, percent
from lightning_clip.reports.summary import FEW_STEPS, NEVER, STEP_LIMITER

MANY_SKIPPED_FRACTION = 0.05
"""Skipping a larger share of the steps is worth a warning."""

ENOUGH_STEPS = 100
"""On fewer steps nothing is said about clipping that never bound."""

_SGD = "With SGD such a threshold works like a second learning rate: half of it makes about half the step."
_ADAM = (
    "This optimizer divides by a running norm of its own, so a threshold that always binds hardly changes the "
    "length of its steps: the learning rate does."
)


def binds_mostly(evidence: Evidence) -> Finding | None:
    """Clipping bound on more than half of the steps."""
    part = evidence.part
    if part.verdict is not STEP_LIMITER or evidence.finite_steps < FEW_STEPS:
        return None
    meaning = {True: _ADAM, False: _SGD, None: f"{_SGD} Adam's steps hardly depend on it."}[evidence.is_adaptive]
    goal = f" towards {literal(part.suggested_threshold)}, the P90" if part.suggested_threshold is not None else ""
    raising = f"raise the threshold{goal}"
    if not evidence.is_adaptive:
        raising = f"lower the learning rate first, then {raising}: steps get longer with it"
    return Finding(
        Severity.NOTE,
        evidence.titled(f"Clipping bound on {percent(part.clipped_fraction)} of the steps: it is a step-size limiter"),
        meaning,
        f"If that is meant, tune the threshold together with the learning rate. For a safety net {raising}.",
    )


def never_binds(evidence: Evidence) -> Finding | None:
    """Clipping was on and changed nothing."""
    part, threshold = evidence.part, evidence.threshold
    if part.verdict is not NEVER or evidence.finite_steps < ENOUGH_STEPS:
        return None
    limit = f", the threshold {number(threshold)}" if threshold is not None else ""
    lower = ""
    if part.suggested_threshold is not None:
        lower = f" To have it bind on one step in ten: NormClip({literal(part.suggested_threshold)})."
    return Finding(
        Severity.NOTE,
        evidence.titled(f"Clipping never bound in {count(part.steps)} steps"),
        f"The largest norm was {number(part.max)}{limit}: the run is the same as one without clipping.",
        f"Nothing needs to be done: it is there for the spike that may come.{lower}",
    )


def skips(evidence: Evidence) -> Finding | None:
    """Steps were skipped: many of them, or finite ones."""
    part = evidence.part
    fraction = part.skipped / part.steps
    many = fraction > MANY_SKIPPED_FRACTION and part.steps >= FEW_STEPS
    if not many and part.skipped <= part.nonfinite:
        return None
    return Finding(
        Severity.WARNING if many else Severity.NOTE,
        evidence.titled(f"{count(part.skipped)} of {counted(part.steps, 'step')} skipped ({percent(fraction)})"),
        f"{count(min(part.skipped, part.nonfinite))} of them for a norm that was not finite. Learning-rate schedulers "
        "and step counters went on all the same.",
        "So many lost steps hide a fault: find its cause before training on." if many else "A few are harmless.",
    )
