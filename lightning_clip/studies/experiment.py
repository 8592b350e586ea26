"""`Experiment`: how a cell of a study becomes a result."""

from abc import ABC, abstractmethod
from pathlib import Path

from lightning_clip.core.results import RunResult
from lightning_clip.studies.cell import Cell

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
