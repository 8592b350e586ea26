"""`standings`: the results of a study by model and strategy, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from lightning_clip.studies.comparison.metrics import (
    DEAD,
    SOLVED,
    STEPS_TO_SOLVE,
    is_higher_better,
    is_neither_better,
    metric_names,
)
from lightning_clip.studies.comparison.result import RunResult

Group = tuple[str, tuple[tuple[str, float | str], ...]]


@dataclass(frozen=True, slots=True)
class Spread:
    """A metric over the seeds.

    Attributes:
        median: The median.
        min: The smallest value.
        max: The largest value.
    """

    median: float
    min: float
    max: float

    def overlaps(self, other: "Spread") -> bool:
        """Whether two ranges have values in common."""
        return self.min <= other.max and other.min <= self.max


@dataclass(frozen=True, slots=True)
class Standing:
    """The results of one strategy on one model in one setting.

    Attributes:
        model: The name of the model.
        strategy: The name of the strategy.
        axes: The values that distinguish the setting.
        runs: The number of runs.
        diverged: How many of them diverged.
        diverged_at: The first and the last step at which a run diverged; `None` if no run did.
        solved: How many of the runs solved their task; `None` if there is no task to solve.
        dead: How many of the runs died: the network's outputs no longer depend on its inputs.
        spreads: Each metric over the runs that did not diverge; empty if all did.
        by_seed: The values of each metric by seed, without the runs that diverged.
        clipped_fraction: Fraction of the steps that were clipped, median over the runs.
        seconds: Duration of a run in seconds, median over the runs.
        compares_models: Whether models are compared instead of strategies, because there is only one strategy.
        best: The metrics in which this row is the best of its group. Only the rows with the fewest diverged runs
            compete. If there is a task to solve, they are the count of solved runs and, among the rows that solve the
            most, the steps: other metrics depend on when a run ended.
    """

    model: str
    strategy: str
    axes: Mapping[str, float | str]
    runs: int
    diverged: int
    diverged_at: tuple[int, int] | None
    solved: int | None
    dead: int
    spreads: Mapping[str, Spread]
    clipped_fraction: float
    seconds: float
    compares_models: bool = False
    best: frozenset[str] = field(default=frozenset())
    by_seed: Mapping[str, Mapping[int, float]] = field(default_factory=dict)

    @property
    def all_diverged(self) -> bool:
        """Whether every run diverged."""
        return self.diverged == self.runs

    @property
    def name(self) -> str:
        """The name of what is compared: the strategy, or the model if there is only one strategy."""
        return self.model if self.compares_models else self.strategy

    @property
    def group(self) -> Group:
        """The rows that may be compared share it: all strategies on one model in one setting, or all models."""
        return "" if self.compares_models else self.model, tuple(self.axes.items())

    @property
    def group_name(self) -> str:
        """The group in words."""
        axes = ", ".join(f"{name} {value}" for name, value in self.axes.items())
        model = self.group[0]
        return f"{model} ({axes})" if model and axes else model or axes

    @property
    def solved_fraction(self) -> float:
        """Fraction of the runs that solved their task, in [0, 1]."""
        return (self.solved or 0) / self.runs


def standings(results: Sequence[RunResult]) -> list[Standing]:
    """Group the results of a study by model, strategy and setting.

    Args:
        results: The results of the runs.

    Returns:
        One standing for each group, in order of first appearance.

    Example:
        >>> runs = [RunResult("mlp", "none", 0, True, 3, 3, 0.1, 0.0, {"test_mse": None})]
        >>> standings(runs)[0].all_diverged
        True
    """
    cells: dict[tuple[str, str, tuple[tuple[str, float | str], ...]], list[RunResult]] = {}
    for result in results:
        cells.setdefault((result.model, result.strategy, tuple(result.axes.items())), []).append(result)
    with_task = [result.axes for result in results if result.metrics.get(SOLVED) is not None]
    compares_models = len({strategy for _, strategy, _ in cells}) == 1 < len({model for model, _, _ in cells})
    rows = [_standing(runs, has_task=runs[0].axes in with_task) for runs in cells.values()]
    rows = [replace(row, compares_models=compares_models) for row in rows]
    return [replace(row, best=_best(row, [other for other in rows if other.group == row.group])) for row in rows]


def by_group(rows: Sequence[Standing]) -> list[list[Standing]]:
    """Return the standings that may be compared with each other, in order of first appearance."""
    groups: dict[Group, list[Standing]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return list(groups.values())


def _standing(runs: Sequence[RunResult], *, has_task: bool) -> Standing:
    first = runs[0]
    steps = [run.diverged_at_step for run in runs if run.diverged and run.diverged_at_step is not None]
    sound = [run for run in runs if not run.diverged]
    values = {name: [v for run in sound if (v := run.metrics.get(name)) is not None] for name in metric_names(sound)}
    solved = sum(map(bool, values.pop(SOLVED, [])))
    values.pop(DEAD, None)
    return Standing(
        model=first.model,
        strategy=first.strategy,
        axes=first.axes,
        runs=len(runs),
        diverged=len(runs) - len(sound),
        diverged_at=(min(steps), max(steps)) if steps else None,
        solved=solved if has_task else None,
        dead=sum(bool(run.metrics.get(DEAD)) for run in runs),
        spreads={name: Spread(median(found), min(found), max(found)) for name, found in values.items() if found},
        clipped_fraction=median(run.clipped_fraction for run in runs),
        seconds=median(run.seconds for run in runs),
        by_seed={n: {run.seed: v for run in sound if (v := run.metrics.get(n)) is not None} for n in values},
    )


def _best(row: Standing, group: Sequence[Standing]) -> frozenset[str]:
    rank = max(_rank(other) for other in group)
    if len(group) == 1 or _rank(row) != rank:
        return frozenset()
    rivals = [other for other in group if _rank(other) == rank]
    if row.solved is None:
        return frozenset(n for n in row.spreads if not is_neither_better(n) and _is_best(row, rivals, n))
    more = {SOLVED} if len({other.solved for other in group}) > 1 else set()
    fewer = {n for n in row.spreads if n == STEPS_TO_SOLVE and len(rivals) > 1 and _is_best(row, rivals, n)}
    return frozenset(more | fewer)


def _rank(row: Standing) -> tuple[float, int]:
    return row.solved_fraction, -row.diverged


def _is_best(row: Standing, rivals: Sequence[Standing], metric: str) -> bool:
    medians = [other.spreads[metric].median for other in rivals if metric in other.spreads]
    return row.spreads[metric].median == (max(medians) if is_higher_better(metric) else min(medians))
