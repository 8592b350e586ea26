"""`Cliff`: gradient descents that start beside a wall in the error."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from lightning_clip._checks import check_count, check_positive_finite
from lightning_clip.core.record.history import History
from lightning_clip.core.record.run_info import RunInfo
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.sinks.jsonl import JsonlSink
from lightning_clip.studies.cell import Cell
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.experiment import Experiment
from lightning_clip.studies.experiments.descent import (
    PARAMETER,
    Descent,
    descend,
    error_and_gradient,
    start_at_the_wall,
)
from lightning_clip.studies.experiments.descent_figure import Surface, Way, plot_descents
from lightning_clip.studies.factory import build
from lightning_clip.studies.training import clipped_fraction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Cliff"]

_MARGIN, _SMALLEST_MARGIN = 0.3, 0.05
_RESOLUTION = 300


class Cliff(Experiment):
    """Gradient descent on the weight and the bias of one recurrent unit, from a start beside the wall in its error.

    At the wall, a large gradient leads far away from the valley, and a clipped one back into it. The seed determines
    the start. A run solves the task if its last error is small. It diverges if a point or a gradient is not finite.

    The metrics are `solved`, 1 or 0; `steps_to_solve`, the steps after which the error stayed small; and
    `longest_step`, in the space of weight and bias.

    Args:
        lr: The learning rate.
        steps: The number of steps of a descent.
        solved_below: The error below which a run counts as solved.

    Raises:
        ArgumentError: An argument is out of range.
        ArgumentTypeError: An argument is not a number.

    References:
        Razvan Pascanu, Tomas Mikolov and Yoshua Bengio, "On the difficulty of training recurrent neural networks",
        2013, https://arxiv.org/abs/1211.5063, figure 6. The unit is theirs; starts, learning rate and steps are ours.
    """

    def __init__(self, lr: float = 0.1, *, steps: int = 500, solved_below: float = 1e-3) -> None:
        check_count("Cliff", steps=steps)
        check_positive_finite("Cliff", lr=lr, solved_below=solved_below)
        self.lr = lr
        self.steps = steps
        self.solved_below = solved_below

    @override
    def run(self, cell: Cell, record: Path) -> RunResult:
        strategy: ClipStrategy = build(ClipStrategy, cell.strategy)  # type: ignore[type-abstract]
        begin = time.perf_counter()
        descent = descend(strategy, start_at_the_wall(cell.seed), lr=self.lr, steps=self.steps)
        seconds = time.perf_counter() - begin
        steps = len(descent.points) - 1
        info = RunInfo("one recurrent unit", repr(strategy), f"SGD(lr={self.lr})", {PARAMETER: 2}, seconds)
        history = _write_record(record, info, descent)
        solved_at = self._solved_at(descent)
        metrics: dict[str, float | None] = {
            "solved": float(solved_at is not None),
            "steps_to_solve": solved_at,
            "longest_step": descent.longest_step,
        }
        return RunResult(
            model=cell.model_name,
            strategy=cell.strategy_name,
            seed=cell.seed,
            diverged=not descent.is_finite,
            diverged_at_step=None if descent.is_finite else steps,
            steps=steps,
            seconds=round(seconds, 3),
            clipped_fraction=clipped_fraction(history),
            metrics=metrics if descent.is_finite else dict.fromkeys(metrics),
            axes=dict(cell.axes),
        )

    @override
    def figure(self, cells: Sequence[Cell], results: Sequence[RunResult]) -> Figure | None:
        seed = _contrasting_seed(results)
        start = start_at_the_wall(seed)
        ways: dict[str, Way] = {}
        for cell in cells:
            if cell.seed == seed:
                strategy: ClipStrategy = build(ClipStrategy, cell.strategy)  # type: ignore[type-abstract]
                descent = descend(strategy, start, lr=self.lr, steps=self.steps)
                ways[cell.strategy_name] = Way(np.array(descent.points), np.array(descent.errors))
        title = f"Gradient descent beside the wall in the error of one recurrent unit (seed {seed}, lr {self.lr})"
        return plot_descents(_around(ways), ways, small=self.solved_below, title=title)

    def _solved_at(self, descent: Descent) -> int | None:
        """The step from which on the error stays small; `None` if the last error is not small."""
        large = [step for step, error in enumerate(descent.errors) if not error < self.solved_below]
        first = large[-1] + 1 if large else 0
        return first if first < len(descent.errors) else None


def _write_record(path: Path, run: RunInfo, descent: Descent) -> History:
    """Write the record of a descent for `lightning-clip report`, and return its history."""
    records, history, sink = descent.events.flush(), History(), JsonlSink(path)
    history.extend(records)
    sink.open(run)
    sink.write(records)
    sink.close(run, history.parameters)
    return history


def _contrasting_seed(results: Sequence[RunResult]) -> int:
    """The first seed with which one run is solved and another is not, or else the first seed."""
    solved: dict[int, set[float | None]] = {}
    for result in results:
        solved.setdefault(result.seed, set()).add(result.metrics.get("solved"))
    return next((seed for seed, found in solved.items() if len(found) > 1), min(solved, default=0))


def _around(ways: Mapping[str, Way]) -> Surface:
    """The error around the path that stays closest to the start."""
    corners = [(way.points.min(axis=0), way.points.max(axis=0)) for way in ways.values()]
    low, high = min(corners, key=lambda pair: float(np.max(pair[1] - pair[0])))
    margin = max(_MARGIN * float(np.max(high - low)), _SMALLEST_MARGIN)
    x, y = np.linspace(low - margin, high + margin, _RESOLUTION).T
    error, *_ = error_and_gradient(*np.meshgrid(x, y))
    return Surface(x, y, error, ("weight w", "bias b", "error"))
