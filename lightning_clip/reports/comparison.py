"""`Comparison`: several runs side by side: where they part, their numbers, findings that came or went."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

import numpy as np
from numpy.typing import NDArray

from lightning_clip._checks import check_each
from lightning_clip._errors import ArgumentError
from lightning_clip.core.record.history import History
from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.core.record.trajectory import Trajectory
from lightning_clip.reports.diagnosis.rule import Finding
from lightning_clip.reports.diagnosis.rules import diagnose
from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.formats import DASH

__all__ = ["Comparison", "Difference"]

_LAST_LOSSES = 50
"""The final loss is the median over this many of the last steps."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two records of the same optimizer part.

    Attributes:
        optimizer: The optimizer's position.
        first_step: The first step that differs, or the first of a stretch in which one does.
        last_step: The last step of that stretch; `first_step` if the step is known.
        what: `"loss"`, `"norm before clipping"` or `"norm after clipping"`.
        values: What each record has there: the value of the step, or the largest of the stretch.
    """

    optimizer: int
    first_step: int
    last_step: int
    what: str
    values: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """Records of several runs side by side; the first one is what the others are compared with.

    Attributes:
        names: What each run is called.
        records: The evidence of each run.

    Raises:
        ArgumentError: There are fewer than two records, or not one name for each.
    """

    names: Sequence[str]
    records: Sequence[Evidence]

    def __post_init__(self) -> None:
        if len(self.records) < 2 or len(self.names) != len(self.records):
            raise ArgumentError(
                f"{type(self).__name__}(names={list(self.names)!r}): a comparison needs two records or more, each with "
                f"a name, not {len(self.records)}."
            )
        check_each(type(self).__name__, str, names=self.names)
        if len(set(self.names)) < len(self.names):
            raise ArgumentError(
                f"{type(self).__name__}(names={list(self.names)!r}): every run needs a name of its own."
            )

    @cached_property
    def differences(self) -> tuple[Difference | None, ...]:
        """Where each further record parts from the first one; `None` if the two are the same."""
        first = self.records[0].history
        return tuple(first_difference(first, other.history) for other in self.records[1:])

    @cached_property
    def numbers(self) -> Mapping[str, tuple[float | None, ...]]:
        """The numbers of each run, by what they are; those of all optimizers together, norms by optimizer."""
        rows: dict[str, tuple[float | None, ...]] = {
            "steps": tuple(one.summary.steps for one in self.records),
            "seconds": tuple(one.run.seconds for one in self.records),
            "final loss": tuple(_final_loss(one.history) for one in self.records),
            "clipped fraction": tuple(_fraction(one, "clipped") for one in self.records),
            "skipped steps": tuple(_sum(one, "skipped") for one in self.records),
            "NaN or infinite steps": tuple(_sum(one, "nonfinite") for one in self.records),
        }
        for index in sorted({part.optimizer for one in self.records for part in one.summary.optimizers}):
            suffix = f" of optimizer {index}" if self._has_several_optimizers else ""
            for what, name in (("median", "median norm"), ("p99", "P99 norm"), ("max", "largest norm")):
                rows[name + suffix] = tuple(_of_optimizer(one, index, what) for one in self.records)
        return rows

    @cached_property
    def findings(self) -> Sequence[tuple[Finding, tuple[Finding | None, ...]]]:
        """Each kind of finding, the most severe first, and what each run has of it, which may have other numbers."""
        found = [diagnose(one) for one in self.records]
        by_kind = [{_key(finding): finding for finding in reversed(ones)} for ones in found]
        known: dict[str, Finding] = {}
        for finding in sorted((one for ones in found for one in ones), key=lambda one: -one.severity):
            known.setdefault(_key(finding), finding)
        return [(finding, tuple(own.get(key) for own in by_kind)) for key, finding in known.items()]

    def finding_rows(self) -> Iterator[tuple[str, ...]]:
        """The title of each finding, and for each run "yes", its own title if that has other numbers, or a dash."""
        for finding, own in self.findings:
            cells = (DASH if one is None else "yes" if one.title == finding.title else one.title for one in own)
            yield finding.title, *cells

    @property
    def _has_several_optimizers(self) -> bool:
        return any(len(one.summary.optimizers) > 1 for one in self.records)


def first_difference(one: History, other: History) -> Difference | None:
    """Find where two records part, in norms and losses, bit for bit.

    A history keeps the latest steps only. Where the first difference is older, the stretch that contains it is known
    from the peaks that are kept of the whole run.

    Args:
        one: A record.
        other: Another record.

    Returns:
        The first difference; `None` if there is none, also if one of the runs is shorter than the other.
    """
    if is_whole(one) and is_whole(other):
        return _first_step(one, other)
    stretches = [found for index in one.aggregates if (found := _first_stretch(one, other, index)) is not None]
    steps = _first_step(one, other)
    stretch = min(stretches, key=lambda found: found.first_step, default=None)
    if stretch is None or steps is None:
        return stretch or steps
    return steps if steps.first_step <= stretch.last_step else stretch


def is_whole(history: History) -> bool:
    """Whether a history still has the record of every step.

    Args:
        history: The record of a run.
    """
    return len(history) == sum(total.steps + total.empty for total in history.aggregates.values())


def _first_stretch(one: History, other: History, index: int) -> Difference | None:
    if index not in other.aggregates:
        return None
    own, theirs = one.aggregates[index], other.aggregates[index]
    for what in ("before", "after"):
        a, b, stride = _aligned(getattr(own, what), getattr(theirs, what))
        parted = np.flatnonzero(a != b)
        if len(parted):
            at = int(parted[0])
            values = float(a[at]), float(b[at])
            return Difference(index, at * stride, at * stride + stride - 1, f"norm {what} clipping", values)
    return None


def _aligned(one: Trajectory, other: Trajectory) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Two trajectories over equal stretches, as far as both runs went."""
    stride = max(one.stride, other.stride)
    steps = min(one.steps, other.steps) // stride  # without a stretch that is not complete in both
    return _coarser(one, stride)[:steps], _coarser(other, stride)[:steps], stride


def _coarser(trajectory: Trajectory, stride: int) -> NDArray[np.float64]:
    values, factor = trajectory.values(), stride // trajectory.stride
    padded = np.pad(values, (0, -len(values) % factor), constant_values=-np.inf)
    coarser: NDArray[np.float64] = padded.reshape(-1, factor).max(axis=1)
    return coarser


def _first_step(one: History, other: History) -> Difference | None:
    known = {(record.optimizer, record.step): record for record in other}
    for record in one:
        match = known.get((record.optimizer, record.step))
        if match is not None and (found := difference_between(record, match)) is not None:
            return found
    return None


def difference_between(one: StepRecord, other: StepRecord) -> Difference | None:
    """What differs between two records of the same step; `None` if norms and loss are the same.

    A loss that one of them lacks, as after manual optimization, is no difference.

    Args:
        one: The step in one record.
        other: The same step in another one.
    """
    for what, values in _pairs(one, other):
        if values[0] != values[1] and not all(map(math.isnan, values)):
            return Difference(one.optimizer, one.step, one.step, what, values)
    return None


def _pairs(one: StepRecord, other: StepRecord) -> list[tuple[str, tuple[float, float]]]:
    losses = [] if one.loss is None or other.loss is None else [("loss", (one.loss, other.loss))]
    return [
        *losses,
        ("norm before clipping", (one.norm_before, other.norm_before)),
        ("norm after clipping", (one.norm_after, other.norm_after)),
    ]


def _final_loss(history: History) -> float | None:
    losses = [record.loss for record in history if record.loss is not None][-_LAST_LOSSES:]
    return median(losses) if losses else None


def _sum(evidence: Evidence, what: str) -> int:
    return sum(getattr(part, what) for part in evidence.summary.optimizers)


def _fraction(evidence: Evidence, what: str) -> float | None:
    steps = _sum(evidence, "steps") - _sum(evidence, "nonfinite")
    return _sum(evidence, what) / steps if steps else None


def _of_optimizer(evidence: Evidence, index: int, what: str) -> float | None:
    found = [part for part in evidence.summary.optimizers if part.optimizer == index]
    return getattr(found[0], what) if found else None


def _key(finding: Finding) -> str:
    return finding.kind or finding.title
