"""`Evidence`: what the rules of a diagnosis and the sections of a report look at, computed once."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from lightning_clip.core.record.aggregate import Aggregate
from lightning_clip.core.record.history import History
from lightning_clip.core.record.landmarks import Landmarks
from lightning_clip.core.record.run_info import RunInfo
from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.core.record.update_sizes import UPDATE_SIZES, UpdateSizes
from lightning_clip.core.recurrent.temporal_profile import TemporalProfile, temporal_profiles
from lightning_clip.reports.early_explosion import EarlyExplosion, early_explosion
from lightning_clip.reports.growth import Growth, growth_of
from lightning_clip.reports.losses import LossCourse, loss_course, reach_of
from lightning_clip.reports.spectrum_summary import SpectrumSummary, summarize_spectrum
from lightning_clip.reports.spikes import Repetition, Spike, find_spikes, repetition_of
from lightning_clip.reports.summary import OptimizerSummary, ParameterSummary, Summary, summarize

__all__ = ["Evidence", "OptimizerEvidence"]

_COMPARED_STEPS = 100
_ADAPTIVE = re.compile("adam|adagrad|adadelta|adafactor|rmsprop|lion|lamb", re.IGNORECASE)


@dataclass(frozen=True)
class OptimizerEvidence:
    """The record of one optimizer.

    Attributes:
        part: Its numbers.
        total: Its totals over the whole run.
        records: Its steps in the window of the history, in order.
        landmarks: Its first steps and those before the first NaN.
        growth: How far the norm grew before its end, if it exploded.
        is_adaptive: Whether the optimizer divides by a running norm of its own, as Adam does; `None` if unknown.
        label: `Optimizer 1 (critic): ` where there are several, to begin the title of a finding with.
        spikes: Its steps far above those before them.
        repetition: How these repeat; `None` if they do not.
        start_loss: The loss of the very first step; `None` if it is unknown.
        losses: The course of the loss; `None` if it is unknown.
        reach: The fraction of the loss by which one update changes it, to first order: usually well below 1. `None` if
            it is unknown.
        explosion: The explosion of its first steps, after which parameters fell silent; `None` if there was none.
        parameters: The numbers of its parameters, in the order of the network; none where it is unknown which it has.
    """

    part: OptimizerSummary
    total: Aggregate
    records: Sequence[StepRecord]
    landmarks: Landmarks
    growth: Growth | None
    is_adaptive: bool | None
    label: str
    spikes: Sequence[Spike]
    repetition: Repetition | None
    start_loss: float | None
    losses: LossCourse | None
    reach: float | None
    explosion: EarlyExplosion | None
    parameters: Sequence[ParameterSummary] = ()

    @property
    def finite_steps(self) -> int:
        """Steps whose norm was finite."""
        return self.part.steps - self.part.nonfinite

    @property
    def is_whole(self) -> bool:
        """Whether `records` holds every step of the run."""
        return len(self.records) == self.part.steps + self.part.empty

    @property
    def first_bad(self) -> StepRecord | None:
        """The first step whose norm was NaN or infinite; `None` if there was none or its record is gone."""
        return self.landmarks.bad_at(self.part.first_nonfinite)

    @property
    def threshold(self) -> float | None:
        """The latest threshold that is known."""
        return next((one.threshold for one in reversed(self.records) if one.threshold is not None), None)


@dataclass(frozen=True)
class Evidence:
    """The record of a run with everything that is derived from it, computed once.

    Attributes:
        history: The record.
        run: What was run.
        title: What the report is called; empty for the name of the model.
        summary: The numbers.
        optimizers: The record of each optimizer.
        profiles: The gradient through time of each recurrent layer, in order, by the name of the layer.
        spectrum: The first and the latest sample of recurrent weights; `None` where there is none.
        updates: The samples of weights and updates, in order, by optimizer.
        max_parameters: The number of parameters that a report lists; `None` for its own choice.
    """

    history: History
    run: RunInfo
    title: str
    summary: Summary
    optimizers: tuple[OptimizerEvidence, ...]
    profiles: Mapping[str, Sequence[TemporalProfile]]
    spectrum: SpectrumSummary | None
    updates: Mapping[int, Sequence[UpdateSizes]]
    max_parameters: int | None = None

    @classmethod
    def of(cls, history: History, run: RunInfo, *, title: str = "") -> Self:
        """Summarize the record of a run.

        Args:
            history: The record.
            run: What was run.
            title: What the report is called.

        Returns:
            The evidence.
        """
        summary = summarize(history, run)
        return cls(
            history=history,
            run=run,
            title=title,
            summary=summary,
            optimizers=tuple(_of_optimizer(part, history, summary) for part in summary.optimizers),
            profiles=temporal_profiles(history.measurements),
            spectrum=summarize_spectrum(history),
            updates=_updates(history),
        )

    @property
    def leading(self) -> Sequence[OptimizerEvidence]:
        """The first optimizer, whose loss is that of the run; none where each has a loss of its own, as in a GAN."""
        found: dict[object, set[float]] = {}
        for record in list(self.history)[-_COMPARED_STEPS:] if len(self.optimizers) > 1 else ():
            if record.loss is not None and math.isfinite(record.loss):
                found.setdefault((record.epoch, record.batch), set()).add(record.loss)
        return () if any(len(losses) > 1 for losses in found.values()) else self.optimizers[:1]

    @property
    def parameters(self) -> list[ParameterSummary]:
        """The numbers of each parameter, in the order of the network."""
        return network_order(self.summary, self.history)


def network_order(summary: Summary, history: History) -> list[ParameterSummary]:
    """The numbers of each parameter in the order of the network, where the summary begins with the largest share.

    Args:
        summary: The numbers of a run.
        history: Its record.
    """
    position = {name: i for i, name in enumerate(history.parameters.names)}
    return sorted(summary.parameters, key=lambda one: position[one.name])


def own_parameters(optimizer: int, summary: Summary, history: History) -> list[ParameterSummary]:
    """The numbers of the parameters of one optimizer, in the order of the network.

    Totals do not say which optimizer has a parameter. Where there are several, the part that each one trains does;
    without such a name, or where two optimizers train the same parameter, nobody has it.

    Args:
        optimizer: Its position.
        summary: The numbers of a run.
        history: Its record.
    """
    parameters = network_order(summary, history)
    if len(summary.optimizers) == 1:
        return parameters
    parts = {i: part.split(" and ") for i, part in enumerate(summary.run.trains) if part}
    owners = {
        one.name: [i for i, heads in parts.items() if any(f"{one.name}.".startswith(f"{head}.") for head in heads)]
        for one in parameters
    }
    return [one for one in parameters if owners[one.name] == [optimizer]]


def _updates(history: History) -> dict[int, list[UpdateSizes]]:
    samples: dict[int, list[UpdateSizes]] = {}
    for measurement in history.measurements.of(UPDATE_SIZES):
        sizes = UpdateSizes.of_measurement(measurement)
        samples.setdefault(sizes.optimizer, []).append(sizes)
    return samples


def _of_optimizer(part: OptimizerSummary, history: History, summary: Summary) -> OptimizerEvidence:
    total = history.aggregates[part.optimizer]
    records = [record for record in history if record.optimizer == part.optimizer]
    spikes = find_spikes(records)
    steps = history.landmarks[part.optimizer]
    known = [*steps.opening[: total.steps + total.empty - len(records)], *records]
    parameters = own_parameters(part.optimizer, summary, history)
    losses = loss_course(total.losses, steps.opening, records) if steps.from_start else None
    return OptimizerEvidence(
        part=part,
        total=total,
        records=records,
        landmarks=steps,
        growth=growth_of(history, part.optimizer),
        is_adaptive=_is_adaptive(summary.run, part.optimizer),
        label=f"{summary.run.name_of(part.optimizer)}: " if len(summary.optimizers) > 1 else "",
        spikes=spikes,
        repetition=repetition_of(spikes, records),
        start_loss=steps.opening[0].loss if steps.from_start and steps.opening else None,
        losses=losses,
        reach=_reach(summary.run, part.optimizer, records, parameters, losses),
        explosion=early_explosion(known, part, parameters) if steps.from_start else None,
        parameters=parameters,
    )


def _is_adaptive(run: RunInfo, optimizer: int) -> bool | None:
    name, _ = run.call_of(optimizer)
    return bool(_ADAPTIVE.search(name)) if name else None


def _reach(
    run: RunInfo,
    optimizer: int,
    records: Sequence[StepRecord],
    parameters: Sequence[ParameterSummary],
    losses: LossCourse | None,
) -> float | None:
    is_adaptive, elements = _is_adaptive(run, optimizer), sum(one.elements or 0 for one in parameters)
    if losses is None or is_adaptive is None or (is_adaptive and not elements):
        return None
    momentum = float(run.call_of(optimizer)[1].get("momentum", 0.0))
    return reach_of(losses, records, moved=elements if is_adaptive else None, momentum=momentum)
