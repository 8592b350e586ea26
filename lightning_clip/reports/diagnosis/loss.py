"""Rules about the loss: it swings, it does not fall, it rises, it began too high; the learning rate had to fall."""

import math
from collections.abc import Iterator

from lightning_clip.core.record.run_info import RunInfo
from lightning_clip.reports.diagnosis.clipping import holds_back
from lightning_clip.reports.diagnosis.lines import SCALE_TARGETS, Lines, adam_lines, clip_lines, rate_lines
from lightning_clip.reports.diagnosis.rule import Finding, Severity
from lightning_clip.reports.evidence import Evidence, OptimizerEvidence
from lightning_clip.reports.formats import counted, number, percent

TARGET_SIZE = 30.0
"""Targets of this size or more make gradients long: outputs begin near 0, and the error is as large as the target."""

HUGE_SIZE = 1_000.0
"""Targets of this size are worth a warning where the loss has not come down yet."""

SLOW_FRACTION = 0.5
"""What is left of the loss where it has not come down."""

LEARNED_FRACTION = 0.1
"""A loss that has come down to less has coped with its targets."""

SWING_FACTOR = 3.0
"""A loss that changes by more than this factor from one update to the next swings."""

ABOVE_START = 1.5
"""A loss that swings because steps overshoot ends higher than it began; one that varies with the batches does not."""

OVERSHOOTS = 1.0
"""An update that changes the loss by a larger multiple of it, to first order, can make it swing; noise needs none."""

TOO_LONG = 5.0
"""Where updates reach further than this and the loss is no lower than at first, the rate is too high."""

NO_LOWER = 0.9
"""A loss that has come down to no less than this is no lower than at first."""

TOO_SHORT = 1e-4
"""Updates that change the loss by a smaller fraction get nowhere."""

TINY_NORM = 1e-3
"""With SGD, a gradient this short needs an unusual rate, or another scale of the loss."""

ENOUGH_STEPS = 80
"""On fewer steps nothing is said about a loss that does not fall."""

FELL_FACTOR = 100.0
"""A learning rate that fell by less was scheduled to."""


def target_size(one: OptimizerEvidence) -> float | None:
    """The size of the targets if the loss is a mean squared error: the root of the first loss; `None` if unknown."""
    start = one.start_loss
    return math.sqrt(start) if start is not None and 0 < start < math.inf else None


def unscaled_targets(evidence: Evidence) -> Iterator[Finding]:
    """The loss began so high that the targets are probably not scaled."""
    one = next(iter(evidence.leading), None)
    size = target_size(one) if one is not None else None
    if one is None or one.losses is None or size is None or size < TARGET_SIZE:
        return
    if one.losses.last < LEARNED_FRACTION * one.losses.first:
        return
    slow = size >= HUGE_SIZE and one.losses.last > SLOW_FRACTION * one.losses.first
    fell = 1 - one.losses.last / one.losses.first
    course = f"It has come down by {percent(fell)}." if fell > 0 else "It has not come down."
    yield Finding(
        Severity.WARNING if slow else Severity.NOTE,
        f"The loss began at {number(one.start_loss)}: the targets are probably not scaled",
        f"If it is a mean squared error, the targets are about {number(size)} in size, and the outputs begin near 0. "
        f"Gradients are that much longer, and the output layer has that far to go. {course}",
        "Scale the targets to mean 0 and standard deviation 1. If the loss is a sum, take the mean instead.",
        kind="unscaled-targets",
        unless=("explosion", "exploded-early", "non-finite"),
        code=SCALE_TARGETS,
    )


def falling_rate(evidence: Evidence) -> Iterator[Finding]:
    """The learning rate had to fall, and what is left of it moves nothing."""
    for one in evidence.optimizers:
        rates, lengths = one.total.learning_rates.values(), one.total.learning_rates.lengths()
        rollbacks = [event for event in evidence.summary.events if event.kind == "rollback"]
        last = next((record.learning_rate for record in reversed(one.records) if record.learning_rate), None)
        if last is None or one.losses is None:
            continue
        top = float(rates.max())
        low = float(lengths[rates < top / FELL_FACTOR].sum() / lengths.sum())
        if top < FELL_FACTOR * last or low < 1 / 3 or one.losses.last < SLOW_FRACTION * one.losses.start:
            continue
        rolled = f" {counted(len(rollbacks), 'rollback')} lowered it." if rollbacks else ""
        yield Finding(
            Severity.WARNING,
            f"{one.label}The learning rate fell from {number(top)} to {number(last)}, and the loss stayed high",
            f"In {percent(low)} of the steps it was less than 1% of its highest value.{rolled} The loss "
            f"began at {number(one.losses.start)} and ended at {number(one.losses.last)}: the rate was too high to "
            "learn at first, and is too low to recover now.",
            "Start over with a rate in between, and clip, so that it does not have to fall:",
            kind="falling-rate",
            unless=("explosion", "exploded-early", "non-finite"),
            code=(*rate_lines(evidence.run, one, 0.03), *clip_lines(evidence)),
        )


def swinging_loss(evidence: Evidence) -> Iterator[Finding]:
    """The loss changes a lot from update to update and does not fall, and updates are long enough to be the cause."""
    for one in evidence.leading:
        course, reach = one.losses, one.reach
        if course is None or course.swing < SWING_FACTOR or course.usual < ABOVE_START * course.start or course.fell:
            continue
        if reach is None or reach < OVERSHOOTS:
            continue  # what varies is the batches
        yield Finding(
            Severity.WARNING,
            f"The loss swings by a factor of {number(course.swing)} from update to update and does not fall",
            f"It began at {number(course.start)}; its mean was {number(course.first)} over the first fifth of the "
            f"run and {number(course.last)} over the last. {_reaches(reach)}: each one overshoots.",
            "Lower the learning rate:",
            kind="swinging-loss",
            unless=(
                *("explosion", "exploded-early", "non-finite", "falling-rate", "unscaled-targets", "large-updates"),
                "spikes",
            ),
            code=rate_lines(evidence.run, one, 0.1),
        )


def overshoots(evidence: Evidence) -> Iterator[Finding]:
    """Updates are far too long, and the loss has not come below where it was before the first of them."""
    for one in evidence.leading:
        course, reach, start = one.losses, one.reach, one.start_loss
        if course is None or course.steps < ENOUGH_STEPS or reach is None or start is None:
            continue
        if reach < TOO_LONG or not 0 < NO_LOWER * start <= course.last:
            continue
        yield Finding(
            Severity.WARNING,
            f"The learning rate is too high: after {counted(course.steps, 'step')}, the loss is no lower than at first",
            f"It began at {number(start)}, and its mean was {number(course.last)} over the last fifth of the run. "
            f"{_reaches(reach)}, so updates jump across the minimum.",
            "Lower the learning rate, and start over: units that were pushed too far may not recover.",
            kind="overshoot",
            unless=("explosion", "exploded-early", "non-finite", "falling-rate", "swinging-loss", "unscaled-targets"),
            code=rate_lines(evidence.run, one, 0.1),
        )


def no_traction(evidence: Evidence) -> Iterator[Finding]:
    """The loss is where it was at the beginning."""
    for one in evidence.leading:
        course = one.losses
        if course is None or course.steps < ENOUGH_STEPS or course.fell or course.rose or holds_back(one):
            continue
        if course.may_have_fallen or course.usual < SLOW_FRACTION * course.start:
            continue  # among its noise, or it fell within the first fifth, and has stayed there since
        remedy, lines = _traction(evidence.run, one)
        yield Finding(
            Severity.WARNING,
            f"No traction: the loss did not fall in {counted(course.steps, 'step')}",
            f"Its mean was {number(course.first)} over the first fifth of the run and {number(course.last)} over the "
            f"last; the median norm of the gradient is {number(one.part.median)}."
            f"{f' {_reaches(one.reach)}.' if one.reach is not None and one.reach < TOO_SHORT else ''}",
            remedy,
            kind="no-traction",
            unless=(
                *("explosion", "exploded-early", "non-finite", "falling-rate", "swinging-loss", "unscaled-targets"),
                *("vanishing-parameters", "temporal-vanishing", "dead-parameters", "fell-silent", "spikes"),
                *("saturated-units", "exploded-weights", "temporal-explosion", "large-updates", "growing-weights"),
                "overshoot",
            ),
            code=lines,
        )


def _reaches(reach: float) -> str:
    return f"To first order, one update changes the loss by {number(reach)} times its size"


def _traction(run: RunInfo, one: OptimizerEvidence) -> tuple[str, Lines]:
    """What to do about a loss that does not fall, by how far an update reaches."""
    reach = one.reach
    if reach is not None and reach < TOO_SHORT:
        if not one.is_adaptive and one.part.median < TINY_NORM:
            return (
                "The gradient is too short for this rate. SGD's updates shrink with the scale of the loss, so if the "
                "loss is divided by a large number, undo that. Adam's updates do not depend on the scale:",
                adam_lines(run, one),
            )
        factor = 10.0 ** round(math.log10(0.01 / reach))
        return "Such updates get nowhere. Raise the learning rate:", rate_lines(run, one, min(factor, 1e4))
    return (
        "If the model is not at its best already, the learning rate is the first thing to try; then check that the "
        "inputs say something about the targets. A task with long lags may stay flat for thousands of steps.",
        rate_lines(run, one, 10.0),
    )


def worsening_loss(evidence: Evidence) -> Iterator[Finding]:
    """The loss was lower before than it is now."""
    for one in evidence.leading:
        course = one.losses
        if course is None or not course.rose:
            continue
        yield Finding(
            Severity.WARNING,
            f"The loss rose again: {number(course.lowest)} at its best, {number(course.last)} at the end",
            f"These are means over a fifth of the run; the first was {number(course.first)}.",
            "Go back to a checkpoint from where the loss was lowest, and go on at a lower learning rate:",
            kind="worsening-loss",
            unless=(
                *("explosion", "exploded-early", "non-finite", "falling-rate", "swinging-loss", "unscaled-targets"),
                *("spikes", "large-updates", "growing-weights", "exploded-weights"),
            ),
            code=rate_lines(evidence.run, one, 0.1),
        )
