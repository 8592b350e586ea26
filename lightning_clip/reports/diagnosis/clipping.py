"""Rules about clipping: it acts on most steps, it never acts, steps are skipped."""

from collections.abc import Iterator

from lightning_clip.reports.diagnosis.rule import Finding, Severity
from lightning_clip.reports.evidence import Evidence, OptimizerEvidence
from lightning_clip.reports.formats import count, counted, literal, number, percent
from lightning_clip.reports.summary import FEW_STEPS, NEVER, STEP_LIMITER

MANY_SKIPPED_FRACTION = 0.05
"""Skipping a larger share of the steps is worth a warning."""

ENOUGH_STEPS = 100
"""On fewer steps nothing is said about clipping that never acted."""

_SGD = "With SGD, such a threshold acts as a second learning rate: half the threshold gives about half the step."
_ADAM = (
    "This optimizer divides by a running norm of its own, so a threshold that always acts hardly changes the length of "
    "its steps; the learning rate does."
)


def clips_mostly(evidence: Evidence) -> Iterator[Finding]:
    """More than half of the steps were clipped."""
    for one in evidence.optimizers:
        part = one.part
        if part.verdict is STEP_LIMITER and one.finite_steps >= FEW_STEPS:
            steps = counted(one.finite_steps, "step")
            yield Finding(
                Severity.NOTE,
                f"{one.label}Clipped {count(part.clipped)} of {steps} ({percent(part.clipped_fraction)}): "
                "clipping sets the step size",
                {True: _ADAM, False: _SGD, None: f"{_SGD} Adam's steps hardly depend on it."}[one.is_adaptive],
                "If you want that, tune the threshold together with the learning rate. "
                f"For a safety net, {_loosen(one)}.",
                kind="clips-mostly",
            )


def _loosen(one: OptimizerEvidence) -> str:
    goal = one.part.suggested_threshold
    raising = "raise the threshold" + (f" toward {literal(goal)}, the P90 of the norms" if goal is not None else "")
    if one.is_adaptive:
        return raising
    return f"lower the learning rate first and then {raising}: a higher threshold means longer steps"


def never_clips(evidence: Evidence) -> Iterator[Finding]:
    """Clipping was on and changed nothing."""
    for one in evidence.optimizers:
        part = one.part
        if part.verdict is NEVER and one.finite_steps >= ENOUGH_STEPS:
            limit = f", the threshold {number(one.threshold)}" if one.threshold is not None else ""
            lower = ""
            if part.suggested_threshold is not None:
                lower = f" NormClip({literal(part.suggested_threshold)}) would clip about one step in ten."
            yield Finding(
                Severity.NOTE,
                f"{one.label}Clipping never acted in {counted(part.steps, 'step')}",
                f"The largest norm was {number(part.max)}{limit}: the run is the same as one without clipping.",
                f"No action needed; it stays as a safety net.{lower}",
                kind="never-clips",
            )


def skips(evidence: Evidence) -> Iterator[Finding]:
    """Many steps, or steps with finite gradients, were skipped."""
    for one in evidence.optimizers:
        part = one.part
        fraction = part.skipped / max(part.steps, 1)
        many = fraction > MANY_SKIPPED_FRACTION and part.steps >= FEW_STEPS
        if many or part.skipped > part.nonfinite:
            remedy = "This many skipped steps suggests a bug; find the cause before continuing."
            yield Finding(
                Severity.WARNING if many else Severity.NOTE,
                f"{one.label}Skipped {count(part.skipped)} of {counted(part.steps, 'step')} ({percent(fraction)})",
                f"{count(min(part.skipped, part.nonfinite))} of them because the norm was NaN or infinite. "
                "Learning-rate schedulers and step counters still advanced.",
                remedy if many else "A few skipped steps are harmless.",
                kind="skips",
            )
