"""The rule about optimizers with losses of their own, as in a GAN: one has won, and the other learns nothing."""

from collections.abc import Iterator

import numpy as np

from lightning_clip.reports.diagnosis.lines import rate_lines
from lightning_clip.reports.diagnosis.rule import Finding, Severity
from lightning_clip.reports.evidence import Evidence, OptimizerEvidence
from lightning_clip.reports.formats import counted, number
from lightning_clip.reports.summary import FEW_STEPS

LOST_FRACTION = 0.01
"""A gradient that has come down to less has been lost, unless the loss came down with it."""

WON_FRACTION = 0.1
"""A player has won whose loss has come down to less."""

ENOUGH_STEPS = 100
"""On fewer steps nothing is said about a gradient that was lost."""


def lost_gradient(evidence: Evidence) -> Iterator[Finding]:
    """The gradient of one optimizer died away while its loss did not fall, and another one's loss fell to almost 0.

    A gradient that dies away because training converged takes its own loss down with it.
    """
    if evidence.leading:
        return
    for one in evidence.optimizers:
        began, ended = _norms(one)
        winner = next((other for other in evidence.optimizers if other is not one and _won(other)), None)
        if winner is None or one.losses is None or one.losses.fell or not ended < LOST_FRACTION * began:
            continue
        course = winner.losses
        assert course is not None
        other = winner.label.removesuffix(": ")
        yield Finding(
            Severity.WARNING,
            f"{one.label}The gradient died away, and the loss did not fall: {other[0].lower()}{other[1:]} has won",
            f"Its median norm was {number(began)} over the first {counted(FEW_STEPS, 'step')} and {number(ended)} over "
            f"the last fifth of the run. Meanwhile the opponent's loss fell from {number(course.start)} to "
            f"{number(course.last)}, and an opponent that makes no mistakes has no gradient to learn from.",
            "Use a loss that does not saturate: for a generator, softplus(-critic(fake)) instead of "
            "-softplus(critic(fake)), or a Wasserstein loss with gradient penalty. Also slow down the winner:",
            kind="lost-gradient",
            unless=("explosion", "exploded-early", "non-finite"),
            code=rate_lines(evidence.run, winner, 0.1),
        )


def _norms(one: OptimizerEvidence) -> tuple[float, float]:
    """The median norm over the first steps, and over the last fifth of the run; NaN where there are too few."""
    first = [record.norm_before for record in one.landmarks.opening if record.is_sample][:FEW_STEPS]
    last = [record.norm_before for record in one.records[-(one.finite_steps // 5) :] if record.is_sample]
    if one.finite_steps < ENOUGH_STEPS or not first or not last:
        return float("nan"), float("nan")
    return float(np.median(first)), float(np.median(last))


def _won(one: OptimizerEvidence) -> bool:
    course = one.losses
    return course is not None and 0 <= course.last < WON_FRACTION * course.start
