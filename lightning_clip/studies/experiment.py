"""`Experiment`: how a cell of a study becomes a result."""

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
    """What is done in each cell of a study.

    A study names it by `class_path` and `init_args`; without one its cells are trained, see `Training`.
    """

    @abstractmethod
    def run(self, cell: Cell, record: Path) -> RunResult:
        """Run one cell. Called on one thread, after seeding.

        Args:
            cell: What to run.
            record: The file for the record of the run, step by step; it does not exist.

        Returns:
            What came out.
        """

    def report(self, results: Sequence[RunResult], record_of: Callable[[RunKey], Path]) -> Iterable[RenderableType]:
        """What this experiment adds to the report of the study, after the comparison.

        Args:
            results: The results of the study.
            record_of: The file that a run is recorded in; it may not exist.

        Returns:
            What to print; nothing by default.
        """
        return ()

    def figure(self, cells: Sequence[Cell], results: Sequence[RunResult]) -> Figure | None:
        """Draw what came out, where this experiment has a picture of its own.

        Args:
            cells: The cells of the study.
            results: Their results; some are missing where a study was interrupted.

        Returns:
            A matplotlib figure; `None` where there is none.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        return None
