"""Rules about clipping: it acts on most steps, it never acts, steps are skipped."""

from collections.abc import Iterator

from lightning_clip.reports.diagnosis.knob import UNKNOWN, Knob
from lightning_clip.reports.diagnosis.rule import Finding, Severity
from lightning_clip.reports.evidence import Evidence, OptimizerEvidence
from lightning_clip.reports.formats import count, counted, number, percent
from lightning_clip.reports.summary import FEW_STEPS, NEVER, STEP_LIMITER

MANY_SKIPPED_FRACTION = 0.05
"""Skipping a larger share of the steps is worth a warning."""

DESIGNED_TOLERANCE = 0.15
"""How far the share of clipped steps may be from the one that a strategy is designed for."""

SHORT_COEF = 0.1
"""Clipping that leaves less of the average gradient may leave too little."""

ENOUGH_STEPS = 100
"""On fewer steps nothing is said about clipping that never acted."""

_SGD = "With SGD, such a threshold acts as a second learning rate: half the threshold gives about half the step."
_ADAM = (
    "This optimizer divides by a running norm of its own, so a threshold that always acts hardly changes the length of "
    "its steps; the learning rate does."
)


def holds_back(one: OptimizerEvidence) -> bool:
    """Whether clipping makes steps so short that the loss stays where it is."""
    part, course = one.part, one.losses
    short = part.verdict is STEP_LIMITER and part.mean_coef is not None and part.mean_coef < SHORT_COEF
    return short and not one.is_adaptive and course is not None and not course.fell


def clips_mostly(evidence: Evidence) -> Iterator[Finding]:
    """More than half of the steps were clipped."""
    for one in evidence.optimizers:
        part = one.part
        if part.verdict is not STEP_LIMITER or one.finite_steps < FEW_STEPS:
            continue
        knob = Knob.of(evidence, one)
        title = (
            f"Clipped {count(part.clipped)} of {counted(one.finite_steps, 'step')} ({percent(part.clipped_fraction)})"
        )
        designed = knob.designed_fraction if knob is not None else None
        less, lines = (knob or UNKNOWN).one_in_ten(evidence, one)
        if knob is not None and designed is not None and abs(designed - part.clipped_fraction) < DESIGNED_TOLERANCE:
            yield Finding(
                Severity.NOTE,
                f"{one.label}{title}, as {knob.call} is meant to",
                f"By design, this strategy clips about {percent(designed)} of the steps. {_effect(one)}",
                f"No action needed. For a safety net that leaves most steps alone, {less}:",
                kind="clips-mostly",
                code=lines,
            )
            continue
        stuck = holds_back(one)
        yield Finding(
            Severity.WARNING if stuck else Severity.NOTE,
            f"{one.label}{title}: clipping {'shortens them too much' if stuck else 'sets the step size'}",
            f"{_stuck(one) if stuck else ''}{_effect(one)}",
            _loosen(one, knob, less, stuck),
            kind="clips-mostly",
            code=lines,
        )


def _effect(one: OptimizerEvidence) -> str:
    return {True: _ADAM, False: _SGD, None: f"{_SGD} Adam's steps hardly depend on it."}[one.is_adaptive]


def _stuck(one: OptimizerEvidence) -> str:
    course = one.losses
    assert course is not None
    return (
        f"On average {percent(one.part.mean_coef)} of a gradient is left, and the loss did not fall: "
        f"{number(course.first)} over the first fifth of the run, {number(course.last)} over the last. "
    )


def _loosen(one: OptimizerEvidence, knob: Knob | None, less: str, stuck: bool) -> str:
    what = f"raise {knob.argument} (now {number(knob.value)})" if knob and knob.argument and knob.value else ""
    what = what or ("raise its limit" if knob is not None else "raise the threshold")
    how = f"{what}: {less}" if less else what
    if stuck:
        return f"{how[0].upper()}{how[1:]}{':' if less else '.'}"
    if not one.is_adaptive:
        how = f"lower the learning rate first, because longer gradients mean longer steps, and then {how}"
    return f"If you want that, tune it together with the learning rate. For a safety net, {how}{':' if less else '.'}"


def never_clips(evidence: Evidence) -> Iterator[Finding]:
    """Clipping was on and changed nothing."""
    for one in evidence.optimizers:
        part = one.part
        if part.verdict is NEVER and one.finite_steps >= ENOUGH_STEPS:
            knob = Knob.of(evidence, one)
            limit = f", the threshold {number(one.threshold)}" if one.threshold is not None else ""
            more, lines = (knob or UNKNOWN).one_in_ten(evidence, one)
            yield Finding(
                Severity.NOTE,
                f"{one.label}Clipping never acted in {counted(part.steps, 'step')}",
                f"The largest norm was {number(part.max)}{limit}: the run is the same as one without clipping.",
                f"No action needed: it remains a safety net.{f' To clip more, {more}:' if more else ''}",
                kind="never-clips",
                code=lines,
            )


def skips(evidence: Evidence) -> Iterator[Finding]:
    """Many steps, or steps with finite gradients, were skipped."""
    for one in evidence.optimizers:
        part = one.part
        fraction = part.skipped / max(part.steps, 1)
        many = fraction > MANY_SKIPPED_FRACTION and part.steps >= FEW_STEPS
        if many or part.skipped > part.nonfinite:
            reason, remedy = _why_skipped(part.skipped, min(part.skipped, part.nonfinite), many=many)
            yield Finding(
                Severity.WARNING if many else Severity.NOTE,
                f"{one.label}Skipped {count(part.skipped)} of {counted(part.steps, 'step')} ({percent(fraction)})",
                f"{reason} Learning-rate schedulers and step counters still advanced.",
                remedy,
                kind="skips",
            )


def _why_skipped(skipped: int, bad: int, *, many: bool) -> tuple[str, str]:
    """Why steps were skipped, and what to do about it.

    Args:
        skipped: The number of skipped steps.
        bad: How many of them were not finite.
        many: Whether there are too many of them.
    """
    it_was, them, its = ("It was", "it", "its norm was") if skipped == 1 else ("They were", "them", "their norms were")
    harmless = "One skipped step is harmless." if skipped == 1 else "A few skipped steps are harmless."
    bug = "So many of them suggest a bug; find the cause before you go on." if many else harmless
    if bad == skipped:
        return f"{it_was} skipped because {its} NaN or infinite.", bug
    rule = "a rule that skips on purpose, such as SkipSpikes"
    too_strict = "A rule that skips so many steps catches more than spikes: raise its limit, or clip instead."
    if not bad:
        return f"{its.capitalize()} finite: {rule}, skipped {them}.", too_strict if many else harmless
    were = "was" if bad == 1 else "were"
    return f"Of these, {count(bad)} {were} NaN or infinite; {rule}, skipped the other {count(skipped - bad)}.", bug
