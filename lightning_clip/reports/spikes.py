"""`find_spikes`: steps far above the norms before them, and how they repeat."""

import math
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.core.switching.detector import SpikeDetector
from lightning_clip.reports.places import batches_of

SPIKE_FACTOR = 10.0
"""A spike is at least so many times the running median; less is noise."""

FEWEST_BEFORE = 5
"""With fewer norms before it, a norm must stand out from those after it too."""

NORMS_AFTER = 10
"""So many norms after it say whether it came back."""

BACK_FACTOR = 3.0
"""A spike is at least so many times the median of the norms after it; otherwise the norm has a new level."""

LONGEST_SPIKE = 10
"""A norm that stays up for more steps has changed its level."""

REPEATED_FRACTION = 0.6
"""Spikes repeat if so large a fraction of them, in so large a fraction of the epochs, has the same batch."""

FEWEST_IN_STEP = 4
"""Fewer spikes at equal distances may be chance."""

_DETECTOR = SpikeDetector()


@dataclass(frozen=True, slots=True)
class Spike:
    """One step that was far above the norms before it.

    Attributes:
        record: The step.
        median: The median of the norms before it.
    """

    record: StepRecord
    median: float

    @property
    def factor(self) -> float:
        """Its norm divided by that median."""
        return self.record.norm_before / self.median


@dataclass(frozen=True, slots=True)
class Repetition:
    """How spikes repeat.

    Attributes:
        batches: What they have in common: `batch 20`, `batches 12–15`; empty if each is in another batch.
        spikes: The number of spikes that repeat.
        epochs: The number of epochs with such a spike.
        of_epochs: The number of epochs that could have one, as far as they are in the record; 0 if unknown.
        every: The number of steps from each to the next, if it is always the same.
    """

    batches: str
    spikes: int
    epochs: int
    of_epochs: int
    every: int | None


def running_medians(norms: Sequence[float], window: int = _DETECTOR.window) -> list[float]:
    """Return the median of the norms before each norm.

    Args:
        norms: Finite norms, `(n,)`.
        window: The number of norms before that count.

    Returns:
        The medians, `(n,)`; NaN for the first.
    """
    held: deque[float] = deque()
    ordered: list[float] = []
    medians = []
    for norm in norms:
        half = len(ordered) // 2
        odd = len(ordered) % 2
        medians.append(
            math.nan if not ordered else ordered[half] if odd else math.sqrt(ordered[half - 1] * ordered[half])
        )
        held.append(norm)
        insort(ordered, norm)
        if len(held) > window:
            del ordered[bisect_left(ordered, held.popleft())]
    return medians


def find_spikes(records: Sequence[StepRecord]) -> list[Spike]:
    """Find the steps whose norm jumped above those before and soon came back.

    Args:
        records: The steps of one optimizer, in order.

    Returns:
        The spikes, in order: of neighboring steps the first, which is the cause of the others.
    """
    samples = [record for record in records if record.is_sample]
    norms = [record.norm_before for record in samples]
    medians = running_medians(norms)
    if len(norms) <= FEWEST_BEFORE:
        return []
    after = float(np.median(norms[FEWEST_BEFORE : FEWEST_BEFORE + NORMS_AFTER]))
    medians[1:FEWEST_BEFORE] = [max(median, after) for median in medians[1:FEWEST_BEFORE]]
    high = [i for i, norm in enumerate(norms) if i > 0 and _is_spike(norms, medians, i, norm)]
    groups: list[list[int]] = []
    for i in high:
        if groups and i - groups[-1][-1] == 1:
            groups[-1].append(i)
        else:
            groups.append([i])
    short = [group for group in groups if group[-1] - group[0] < LONGEST_SPIKE and _came_back(norms, group)]
    if short and short[-1][-1] == len(norms) - 1 and len(short) <= 2:
        short.pop()  # may be the beginning of an explosion, unless there were such steps before
    return [Spike(samples[group[0]], medians[group[0]]) for group in short]


def repetition_of(spikes: Sequence[Spike], records: Sequence[StepRecord]) -> Repetition | None:
    """Say how spikes repeat.

    Args:
        spikes: The spikes of one optimizer.
        records: All of its steps.

    Returns:
        The batch that they have in common, or the number of steps from each to the next; `None` if they do not repeat.
    """
    if len(spikes) < 2:
        return None
    steps = [spike.record.step for spike in spikes]
    gaps = {later - earlier for earlier, later in pairwise(steps)}
    every = gaps.pop() if len(gaps) == 1 and len(steps) >= FEWEST_IN_STEP else None
    per_epoch = Counter(record.epoch for record in records if record.epoch is not None)
    if not per_epoch or max(per_epoch.values()) < 4:
        return Repetition("", len(spikes), 0, 0, every) if every else None
    where = Counter(batches_of(spike.record) for spike in spikes)
    batches, times = where.most_common(1)[0]
    in_epochs = len({spike.record.epoch for spike in spikes if batches_of(spike.record) == batches})
    of_epochs = len({record.epoch for record in records if batches_of(record) == batches})
    if in_epochs > 1 and min(times / len(spikes), in_epochs / of_epochs) >= REPEATED_FRACTION:
        return Repetition(batches, times, in_epochs, of_epochs, every)
    with_spike = Counter(spike.record.epoch for spike in spikes)
    whole = {epoch for epoch, steps in per_epoch.items() if steps == max(per_epoch.values())}
    if len(whole) > 2 and set(with_spike) >= whole and max(with_spike.values()) == 1:
        return Repetition("", len(spikes), len(whole), len(whole), every)
    return Repetition("", len(spikes), 0, 0, every) if every else None


def _came_back(norms: Sequence[float], group: Sequence[int]) -> bool:
    after = norms[group[-1] + 1 : group[-1] + 1 + NORMS_AFTER]
    return not after or norms[group[0]] >= BACK_FACTOR * float(np.median(after))


def _is_spike(norms: Sequence[float], medians: Sequence[float], i: int, norm: float) -> bool:
    """Whether a norm is that high and bad for the detector of `StrategySwitcher`; few are looked at closely."""
    if not norm >= SPIKE_FACTOR * medians[i]:
        return False
    if i < _DETECTOR.warmup_steps:
        return math.log(norm / medians[i]) > _DETECTOR.mild * _DETECTOR.warmup_scale
    logs = np.log(norms[max(0, i - _DETECTOR.window) : i])
    spread = 1.4826 * float(np.median(np.abs(logs - np.median(logs))))
    return math.log(norm / medians[i]) > _DETECTOR.mild * max(spread, _DETECTOR.min_scale)
