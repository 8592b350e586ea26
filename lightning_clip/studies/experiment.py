"""`Experiment`: what a study does in each of its cells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_clip.studies.cell import Cell
from lightning_clip.studies.comparison.result import RunKey, RunResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

__all__ = ["Experiment"]


class Experiment(ABC):
    """Turns a cell of a study into a result.

    A study names its experiment by `class_path` and `init_args`. The default is `Training`.
    """

    @abstractmethod
    def run(self, cell: Cell, record: Path) -> RunResult:
        """Run one cell. Called after seeding, with one torch thread.

        Args:
            cell: The cell to run.
            record: The path for the step-by-step record of the run. The file does not exist yet.

        Returns:
            The result of the run.
        """

    def report(self, results: Sequence[RunResult], record_of: Callable[[RunKey], Path]) -> Iterable[RenderableType]:
        """Make what this experiment adds to the report of a study, below the comparison.

        Args:
            results: The results of the study.
            record_of: Returns the path of a run's record. The file may not exist.

        Returns:
            What to print; nothing by default.
        """
        return ()

    def figure(self, cells: Sequence[Cell], results: Sequence[RunResult]) -> Figure | None:
        """Draw the results, if this experiment has a figure of its own.

        Args:
            cells: The cells of the study.
            results: Their results. Some are missing if the study was interrupted.

        Returns:
            A matplotlib figure; `None` by default, for the figure that every study has.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        return None
