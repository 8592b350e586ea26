"""`Suggestion`: a threshold from measured norms, beside the usual rules of thumb and what each would clip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lightning_clip.core.record.history import History
from lightning_clip.core.record.norm_sample import NormSample, rounded, value_of
from lightning_clip.core.record.run_info import RunInfo
from lightning_clip.core.recurrent.names import RecurrentName

STATISTIC = "p90"
"""The statistic that is suggested, as by `ClipThresholdFinder`."""

_OF_SGD = (
    "a record does not know the weights. Steps of SGD are as long as its gradients, and `suggest --config` also takes "
    "into account how far they move the weights"
)
_REST = "*"
_BLOCKS = {"input-hidden": "weight_ih", "hidden-hidden": "weight_hh", "projection": "weight_hr", "bias": "bias_[ih]h"}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of thumb.

    Attributes:
        name: What it takes.
        threshold: The threshold that it gives.
        clipped: The fraction of the measured steps that this threshold would clip, in [0, 1].
    """

    name: str
    threshold: float
    clipped: float


@dataclass(frozen=True, slots=True)
class GroupNorms:
    """The norms of a group of parameters.

    Attributes:
        label: The layer and the role of the group.
        glob: The glob that matches its parameters.
        quantiles: P10, median, P90 and maximum.
    """

    label: str
    glob: str
    quantiles: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What the norms of one optimizer suggest.

    Attributes:
        sample: The norms that were measured.
        groups: The groups of a recurrent network, and all other parameters; empty for other networks.
        optimizer: What the optimizer is called where there are several.
        source: Where the norms come from, for people to read.
        note: What they do not show, for people to read.
    """

    sample: NormSample
    groups: Sequence[GroupNorms] = ()
    optimizer: str = ""
    source: str = ""
    note: str = ""

    @property
    def threshold(self) -> float | None:
        """The suggested threshold; `None` if nothing was measured."""
        return self.sample.suggestion(STATISTIC)

    def rules(self) -> list[Rule]:
        """The rules of thumb, and what each would clip."""
        norms = self.sample.norms
        mean = value_of("mean", norms)
        values = {
            "10 x mean (Pascanu et al.: upper end)": 10 * mean,
            "P99": value_of("p99", norms),
            "P90 (one step in ten)": value_of("p90", norms),
            "mean (Pascanu et al.)": mean,
            "median": value_of("median", norms),
            "half the mean (Pascanu et al.: lower end)": 0.5 * mean,
            "P10 (AutoClip)": value_of("p10", norms),
        }
        if self.sample.step_limit < np.inf:
            values["a step of SGD moves the weights by 10%"] = self.sample.step_limit
        return [Rule(name, rounded(value), self.clipped(rounded(value))) for name, value in values.items()]

    def clipped(self, threshold: float) -> float:
        """The fraction of the measured steps that a threshold would clip, in [0, 1]."""
        return float((np.array(self.sample.norms) > threshold).mean())

    def group_limits(self) -> dict[str, float]:
        """A limit for each group, by glob: its P90, lowered where the suggested threshold is below that of all."""
        factor = (self.threshold or 1.0) / value_of(STATISTIC, self.sample.norms)
        return {one.glob: rounded(min(factor, 1.0) * one.quantiles[2]) for one in self.groups if one.quantiles[2] > 0}


def suggestions_of(history: History, run: RunInfo) -> list[Suggestion]:
    """What the record of a run suggests, for each optimizer.

    Args:
        history: The record.
        run: What was run.
    """
    strategy = run.brief_strategy or run.strategy
    source = f"recorded with {strategy}" if strategy and not strategy.startswith("NoClip") else "recorded"
    note = _OF_SGD if run.optimizer.startswith("SGD") else ""
    optimizers = sorted({record.optimizer for record in history})
    samples = {index: NormSample() for index in optimizers}
    for record in history:
        sample = samples[record.optimizer]
        if not sample.diverged and not record.skipped:
            sample.add(record.norm_before)
    groups = _groups_of_record(history) if len(optimizers) == 1 else []
    return [
        Suggestion(samples[index], groups, run.name_of(index) if len(optimizers) > 1 else "", source, note)
        for index in optimizers
    ]


def groups_of_steps(steps: Sequence[Mapping[str, float]]) -> list[GroupNorms]:
    """The groups of a recurrent network.

    Args:
        steps: The 2-norm of each parameter's gradient, by name, at each step.
    """
    places = {name: _place(name) for step in steps for name in step}
    if not any(glob != _REST for _, glob in places.values()):
        return []
    found = []
    for label, glob in dict.fromkeys(places.values()):
        own = [name for name, place in places.items() if place[1] == glob]
        norms = [sum(step[name] ** 2 for name in own if name in step) ** 0.5 for step in steps]
        found.append(GroupNorms(label, glob, _quantiles(norms)))
    return sorted(found, key=lambda one: one.glob == _REST)


def _groups_of_record(history: History) -> list[GroupNorms]:
    """The groups of which a record has the norms: those of one parameter."""
    totals = history.parameters
    names = totals.names
    alone = [i for i, name in enumerate(names) if _place(name)[1] not in (_REST, *_two(names))]
    if not alone:
        return []
    p10, median, p90 = totals.sketch.quantiles([0.1, 0.5, 0.9])
    return [
        GroupNorms(*_place(names[i]), (float(p10[i]), float(median[i]), float(p90[i]), float(totals.max[i])))
        for i in alone
    ]


def _two(names: Sequence[str]) -> list[str]:
    """The globs that match more than one of the parameters."""
    globs = [_place(name)[1] for name in names]
    return [glob for glob in set(globs) if globs.count(glob) > 1]


def _place(name: str) -> tuple[str, str]:
    """The label and the glob of a parameter's group."""
    parsed = RecurrentName.parse(name)
    if parsed is None:
        return "all others", _REST
    module = f"{parsed.layer.module}." if parsed.layer.module else ""
    return f"{parsed.layer.label}: {parsed.path}", f"{module}{_BLOCKS[parsed.path]}{parsed.layer.suffix}"


def _quantiles(norms: Sequence[float]) -> tuple[float, float, float, float]:
    p10, median, p90, highest = (float(value) for value in np.percentile(norms, [10, 50, 90, 100]))
    return p10, median, p90, highest
