"""`standings`: the runs of a study put together by strategy, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from lightning_clip.core.results import RunResult

_HIGHER_IS_BETTER = {"accuracy", "acc", "r2", "f1", "auroc"}
_ABBREVIATIONS = {"mse", "rmse", "mae", "mape", "r2", "f1", "auroc", "nll", "bce"}

Group = tuple[str, tuple[tuple[str, float | str], ...]]


@dataclass(frozen=True, slots=True)
class Spread:
    """A metric over the seeds.

    Attributes:
        median: Middle value.
        min: Smallest value.
        max: Largest value.
    """

    median: float
    min: float
    max: float

    def overlaps(self, other: "Spread") -> bool:
        """Whether the two ranges have values in common."""
        return self.min <= other.max and other.min <= self.max


@dataclass(frozen=True, slots=True)
class Standing:
    """The runs of one strategy on one model.

    Attributes:
        model: Name of the model.
        strategy: Name of the strategy.
        axes: What else tells these runs apart.
        runs: How many there are.
        diverged: How many of them diverged.
        diverged_at: First and last of the steps at which they did; `None` if none did.
        spreads: Each metric over the runs that did not diverge; none where all did.
        clipped_fraction: Share of the steps at which clipping bound, median over the runs.
        seconds: Duration of a run, median.
        best: The metrics whose median is the best on this model, among the strategies that diverge least.
    """

    model: str
    strategy: str
    axes: Mapping[str, float | str]
    runs: int
    diverged: int
    diverged_at: tuple[int, int] | None
    spreads: Mapping[str, Spread]
    clipped_fraction: float
    seconds: float
    best: frozenset[str] = field(default=frozenset())

    @property
    def all_diverged(self) -> bool:
        """Whether no run is left."""
        return self.diverged == self.runs

    @property
    def group(self) -> Group:
        """What may be compared with each other: all strategies on one model."""
        return self.model, tuple(self.axes.items())

    @property
    def group_name(self) -> str:
        """The group in words."""
        axes = ", ".join(f"{name} {value}" for name, value in self.axes.items())
        return f"{self.model} ({axes})" if axes else self.model


def standings(results: Sequence[RunResult]) -> list[Standing]:
    """Put the runs of a study together by model and strategy.

    Args:
        results: The runs.

    Returns:
        One standing each, in order of first appearance.

    Example:
        >>> runs = [RunResult("mlp", "none", 0, True, 3, 3, 0.1, 0.0, {"test_mse": None})]
        >>> standings(runs)[0].all_diverged
        True
    """
    cells: dict[tuple[str, str, tuple[tuple[str, float | str], ...]], list[RunResult]] = {}
    for result in results:
        cells.setdefault((result.model, result.strategy, tuple(result.axes.items())), []).append(result)
    rows = [_standing(runs) for runs in cells.values()]
    return [_with_best(row, [other for other in rows if other.group == row.group]) for row in rows]


def metric_names(results: Sequence[RunResult]) -> list[str]:
    """The metrics of all runs, in order of first appearance."""
    return list(dict.fromkeys(name for result in results for name in result.metrics))


def is_higher_better(metric: str) -> bool:
    """Whether more of a metric is better, by its name."""
    return not _HIGHER_IS_BETTER.isdisjoint(metric.lower().split("_"))


def metric_title(metric: str) -> str:
    """The metric in words.

    Example:
        >>> metric_title("test_mse")
        'test MSE'
    """
    return " ".join(word.upper() if word in _ABBREVIATIONS else word for word in metric.replace("/", "_").split("_"))


def _standing(runs: Sequence[RunResult]) -> Standing:
    first = runs[0]
    steps = [run.diverged_at_step for run in runs if run.diverged and run.diverged_at_step is not None]
    sound = [run for run in runs if not run.diverged]
    values = {name: [v for run in sound if (v := run.metrics.get(name)) is not None] for name in metric_names(sound)}
    return Standing(
        model=first.model,
        strategy=first.strategy,
        axes=first.axes,
        runs=len(runs),
        diverged=len(runs) - len(sound),
        diverged_at=(min(steps), max(steps)) if steps else None,
        spreads={name: Spread(median(found), min(found), max(found)) for name, found in values.items() if found},
        clipped_fraction=median(run.clipped_fraction for run in runs),
        seconds=median(run.seconds for run in runs),
    )


def _with_best(row: Standing, group: Sequence[Standing]) -> Standing:
    least = min(other.diverged for other in group)
    rivals = [other for other in group if other.diverged == least]
    best = frozenset(name for name in row.spreads if row in rivals and len(group) > 1 and _is_best(row, rivals, name))
    return Standing(**{name: getattr(row, name) for name in Standing.__slots__ if name != "best"}, best=best)


def _is_best(row: Standing, rivals: Sequence[Standing], metric: str) -> bool:
    medians = [other.spreads[metric].median for other in rivals if metric in other.spreads]
    return row.spreads[metric].median == (max(medians) if is_higher_better(metric) else min(medians))
