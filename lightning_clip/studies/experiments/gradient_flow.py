"""`GradientFlow`: training, with the gradient through time in the report of the study."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.rule import Rule
from rich.text import Text
from typing_extensions import override

from lightning_clip.reports.record import load_record
from lightning_clip.reports.sections.temporal import temporal
from lightning_clip.studies.cell import Cell
from lightning_clip.studies.comparison.result import RunKey, RunResult
from lightning_clip.studies.experiment import Experiment
from lightning_clip.studies.training import Training

__all__ = ["GradientFlow"]


class GradientFlow(Experiment):
    """Train as `Training` does, and show the temporal profiles of the first run of each model in the report.

    The profiles come from a `TemporalGradientMonitor` among the callbacks of the study.
    """

    @override
    def run(self, cell: Cell, record: Path) -> RunResult:
        return Training().run(cell, record)

    @override
    def report(self, results: Sequence[RunResult], record_of: Callable[[RunKey], Path]) -> Iterator[RenderableType]:
        first = {result.model: result for result in reversed(results)}
        for result in reversed(first.values()):
            path = record_of(result.key)
            if path.exists():
                yield Rule(Text(f"{result.model}, seed {result.seed}", style="bold"), style="cyan", align="left")
                yield from temporal(load_record(path).evidence)
