"""`early_explosion`: whether the first steps of a run exploded and left parameters without a gradient."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.reports.summary import FEW_STEPS, OptimizerSummary, ParameterSummary

SILENT_RATIO = 1e-3
"""A parameter is silent if its median norm is a smaller part of the median total, and of its own largest norm."""

LOUD_RATIO = 1e-2
"""A parameter whose largest norm was a larger part of the first total norm once had a gradient."""

EARLY_STEPS = 50
"""An explosion after more steps is not one of the start."""

_RISE = 3.0
_ABOVE_REST = 5.0


@dataclass(frozen=True, slots=True)
class EarlyExplosion:
    """Steps at the start of a run that exploded, and what they left behind.

    Attributes:
        first: The step at which the rise began.
        peak: The step with the largest norm.
        silent: The parameters that had a gradient and lost it, in the order of the network.
        rest: The median norm after the first steps.
    """

    first: StepRecord
    peak: StepRecord
    silent: tuple[ParameterSummary, ...]
    rest: float

    @property
    def factor(self) -> float:
        """The largest norm divided by the one at which the rise began."""
        return self.peak.norm_before / self.first.norm_before


def fell_silent(part: OptimizerSummary, parameters: Sequence[ParameterSummary], first_norm: float) -> list[str]:
    """Name the parameters that had a gradient once and have hardly any for most of the run.

    Args:
        part: The numbers of the optimizer.
        parameters: The numbers of its parameters.
        first_norm: The total norm at the first step.
    """
    loud = [one for one in parameters if one.max >= LOUD_RATIO * first_norm]
    return [one.name for one in loud if one.median < SILENT_RATIO * min(part.median, one.max)]


def early_explosion(
    records: Sequence[StepRecord], part: OptimizerSummary, parameters: Sequence[ParameterSummary]
) -> EarlyExplosion | None:
    """Look for an explosion in the first steps after which parameters fell silent.

    Args:
        records: The first and the latest steps of one optimizer, in order.
        part: Its numbers.
        parameters: The numbers of its parameters.

    Returns:
        The explosion; `None` if there was none, or if it did no such damage.
    """
    samples = [record for record in records if record.is_sample]
    if len(samples) < FEW_STEPS:
        return None
    norms = np.array([record.norm_before for record in samples])
    names = set(fell_silent(part, parameters, float(norms[0])))
    early = min(EARLY_STEPS, len(norms) // 4)
    peak, rest = int(norms[:early].argmax()), float(np.median(norms[early:]))
    first = int(norms[: peak + 1].argmin())
    rises = norms[peak] >= _RISE * norms[first] and norms[peak] >= _ABOVE_REST * rest
    if not names or not rises:
        return None
    silent = tuple(one for one in parameters if one.name in names)
    return EarlyExplosion(samples[first], samples[peak], silent, rest)
