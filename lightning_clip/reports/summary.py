"""`summarize`: the numbers of a report, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass

from lightning_clip.core.record.aggregate import Aggregate
from lightning_clip.core.record.history import History
from lightning_clip.core.record.parameter_totals import ParameterTotals
from lightning_clip.core.record.run_info import Event, RunInfo
from lightning_clip.core.recurrent.gates import GATE_NORMS
from lightning_clip.reports.growth import growth_of
from lightning_clip.reports.recurrent_summary import RecurrentLayerSummary, summarize_recurrent

__all__ = ["Summary", "summarize"]


SAFETY_NET_FRACTION = 0.01
"""Clipping that acts on a smaller share of the steps is a safety net."""

LIMITER_FRACTION = 0.5
"""Clipping that acts on a larger share of the steps sets the step size."""

SUGGESTED_QUANTILE = 0.9
"""The quantile of the norms that is suggested as a threshold: it clips one step in ten."""

FEW_STEPS = 20
"""With fewer steps, nothing is suggested and little is said."""

NO_CLIPPING = "NoClip()"
"""The label of the strategy that only watches."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the share of clipped steps says about a run.

    Attributes:
        name: The verdict in two or three words.
        meaning: The verdict in one sentence.
    """

    name: str
    meaning: str


UNCLIPPED = Verdict("no clipping", "the gradients were only watched")
NEVER = Verdict("never acted", "every gradient passed unchanged")
SAFETY_NET = Verdict("safety net", "it caught rare spikes; all other gradients passed unchanged")
SPIKE_LIMITER = Verdict("spike limiter", "it shortened the larger gradients; most passed unchanged")
STEP_LIMITER = Verdict("step-size limiter", "most gradients reached the optimizer shortened")


@dataclass(frozen=True, slots=True)
class OptimizerSummary:
    """What happened to the gradients of one optimizer; norms are total 2-norms.

    Attributes:
        optimizer: Position in `trainer.optimizers`.
        strategies: Steps by strategy label, in order of first use.
        steps: Optimizer steps with a gradient.
        min: Smallest norm before clipping; NaN if none was finite, like the next five.
        median: Median norm before clipping.
        p90: Norm before clipping that 90% of the steps stayed below.
        p99: Norm before clipping that 99% of the steps stayed below.
        max: Largest norm before clipping.
        mean: Mean norm before clipping.
        clipped: Clipped steps.
        clipped_fraction: Their share of the finite steps, in [0, 1].
        verdict: What that share means.
        mean_coef: Mean clip coefficient of the clipped steps; `None` if there were none.
        skipped: Skipped steps.
        nonfinite: Steps whose norm was NaN or infinite.
        first_nonfinite: The first of them.
        suggested_threshold: 90% quantile of the norms; `None` where it would mislead: too few steps, or an explosion.
        before: Largest norm before clipping in each stretch of `stride` steps; infinite where one was not finite.
        after: The same after clipping.
        stride: Steps per stretch.
        empty: Optimizer steps without a gradient, which only `before` and `after` contain.
    """

    optimizer: int
    strategies: Mapping[str, int]
    steps: int
    min: float
    median: float
    p90: float
    p99: float
    max: float
    mean: float
    clipped: int
    clipped_fraction: float
    verdict: Verdict
    mean_coef: float | None
    skipped: int
    nonfinite: int
    first_nonfinite: int | None
    suggested_threshold: float | None
    before: tuple[float, ...]
    after: tuple[float, ...]
    stride: int
    empty: int = 0


@dataclass(frozen=True, slots=True)
class ParameterSummary:
    """The gradient of one parameter over a run.

    Attributes:
        name: Name of the parameter.
        elements: Number of elements; `None` if unknown.
        steps: Steps with a finite total norm above 0 at which it had a gradient.
        median: Median 2-norm before clipping.
        max: Largest 2-norm before clipping.
        share: Its share of the squared total norm, averaged over those steps, in [0, 1].
        clipped_fraction: Share of those steps at which its gradient was clipped, in [0, 1].
    """

    name: str
    elements: int | None
    steps: int
    median: float
    max: float
    share: float
    clipped_fraction: float


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers of a report.

    Attributes:
        run: What was run.
        optimizers: The numbers of each optimizer, by position.
        parameters: The numbers of each parameter, the largest share first.
        events: Switches, rollbacks, stops, in order.
        recurrent: The numbers of each recurrent layer and direction, in the order of the network.
    """

    run: RunInfo
    optimizers: tuple[OptimizerSummary, ...]
    parameters: tuple[ParameterSummary, ...]
    events: tuple[Event, ...]
    recurrent: tuple[RecurrentLayerSummary, ...] = ()

    @property
    def steps(self) -> int:
        """Total steps of all optimizers, including those without a gradient."""
        return sum(part.steps + part.empty for part in self.optimizers)


def summarize(history: History, run: RunInfo) -> Summary:
    """Reduce the record of a run to the numbers of a report.

    Args:
        history: The record.
        run: What was run.

    Returns:
        Its summary.

    Example:
        >>> from lightning_clip.core import StepRecord
        >>> history = History()
        >>> history.extend([StepRecord(0, 0, "NormClip(1.0)", 4.0, 1.0, 1.0, 0.25, True, True, False)])
        >>> summarize(history, RunInfo()).optimizers[0].verdict.name
        'step-size limiter'
    """
    optimizers = tuple(_of_optimizer(history, optimizer) for optimizer in sorted(history.aggregates))
    parameters = _parameters(history.parameters, run.numels)
    shares = {one.name: one.share for one in parameters}
    return Summary(
        run=run,
        optimizers=optimizers,
        parameters=tuple(sorted(parameters, key=_by_share)),
        events=tuple(history.events),
        recurrent=summarize_recurrent(shares, history.measurements.of(GATE_NORMS)),
    )


def _by_share(one: ParameterSummary) -> float:
    """The largest share first; shares that differ by rounding alone keep the order of the network."""
    return -float(f"{one.share:.5g}")


def verdict_on(total: Aggregate) -> Verdict:
    """What the share of clipped steps says about a run.

    Args:
        total: The totals of one optimizer.
    """
    if set(total.strategies) <= {NO_CLIPPING}:
        return UNCLIPPED
    if not total.clipped:
        return NEVER
    if total.clipped_fraction < SAFETY_NET_FRACTION:
        return SAFETY_NET
    return STEP_LIMITER if total.clipped_fraction > LIMITER_FRACTION else SPIKE_LIMITER


def _of_optimizer(history: History, optimizer: int) -> OptimizerSummary:
    total = history.aggregates[optimizer]
    median, suggested, p99 = total.quantiles(0.5, SUGGESTED_QUANTILE, 0.99)
    finite = total.steps - total.nonfinite
    misleads = finite < FEW_STEPS or not suggested > 0 or growth_of(history, optimizer) is not None
    return OptimizerSummary(
        optimizer=optimizer,
        strategies=dict(total.strategies),
        steps=total.steps,
        min=total.min,
        median=median,
        p90=suggested,
        p99=p99,
        max=total.max,
        mean=total.mean,
        clipped=total.clipped,
        clipped_fraction=total.clipped_fraction,
        verdict=verdict_on(total),
        mean_coef=total.coef_sum / total.clipped if total.clipped else None,
        skipped=total.skipped,
        nonfinite=total.nonfinite,
        first_nonfinite=total.first_nonfinite,
        suggested_threshold=None if misleads else suggested,
        before=tuple(total.before.values().tolist()),
        after=tuple(total.after.values().tolist()),
        stride=total.before.stride,
        empty=total.empty,
    )


def _parameters(totals: ParameterTotals, numels: Mapping[str, int]) -> list[ParameterSummary]:
    medians = totals.sketch.quantiles([0.5])[0]
    return [
        ParameterSummary(
            name=name,
            elements=numels.get(name),
            steps=int(totals.steps[i]),
            median=min(float(medians[i]), float(totals.max[i])),
            max=float(totals.max[i]),
            share=float(totals.share[i] / totals.steps[i]),
            clipped_fraction=float(totals.clipped[i] / totals.steps[i]),
        )
        for i, name in enumerate(totals.names)
        if totals.steps[i]
    ]
