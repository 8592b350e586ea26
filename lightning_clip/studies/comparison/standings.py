"""`standings`: the runs of a study put together by strategy, as plain data."""

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
        solved: How many of them solved their task; `None` where that was not asked.
        dead: How many of them died: the outputs of their network no longer depend on its inputs.
        spreads: Each metric over the runs that did not diverge; none where all did.
        clipped_fraction: Share of the steps at which clipping bound, median over the runs.
        seconds: Duration of a run, median.
        compares_models: Whether models are what is compared, because there is one strategy only.
        best: What is the best of its group. Among the rows that diverge least each metric; where the task can be solved
            only the count of the solved, and the steps among those that solve most: other metrics depend on the end
            of a run.
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

    @property
    def all_diverged(self) -> bool:
        """Whether no run is left."""
        return self.diverged == self.runs

    @property
    def name(self) -> str:
        """What is compared: the strategy, or the model where there is one strategy only."""
        return self.model if self.compares_models else self.strategy

    @property
    def group(self) -> Group:
        """What may be compared with each other: all strategies on one model, or all models."""
        return "" if self.compares_models else self.model, tuple(self.axes.items())

    @property
    def group_name(self) -> str:
        """The group in words."""
        axes = ", ".join(f"{name} {value}" for name, value in self.axes.items())
        model = self.group[0]
        return f"{model} ({axes})" if model and axes else model or axes

    @property
    def solved_fraction(self) -> float:
        """Share of the runs that solved their task, in [0, 1]."""
        return (self.solved or 0) / self.runs


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
    asked = [result.axes for result in results if result.metrics.get(SOLVED) is not None]
    compares_models = len({strategy for _, strategy, _ in cells}) == 1 < len({model for model, _, _ in cells})
    rows = [_standing(runs, is_asked=runs[0].axes in asked) for runs in cells.values()]
    rows = [replace(row, compares_models=compares_models) for row in rows]
    return [replace(row, best=_best(row, [other for other in rows if other.group == row.group])) for row in rows]


def by_group(rows: Sequence[Standing]) -> list[list[Standing]]:
    """The standings that may be compared with each other, in order of first appearance."""
    groups: dict[Group, list[Standing]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return list(groups.values())


def _standing(runs: Sequence[RunResult], *, is_asked: bool) -> Standing:
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
        solved=solved if is_asked else None,
        dead=sum(bool(run.metrics.get(DEAD)) for run in runs),
        spreads={name: Spread(median(found), min(found), max(found)) for name, found in values.items() if found},
        clipped_fraction=median(run.clipped_fraction for run in runs),
        seconds=median(run.seconds for run in runs),
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
