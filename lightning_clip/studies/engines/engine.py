"""`Engine`: where the runs of a study are made."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from joblib import cpu_count

from lightning_clip.studies.cell import Cell
from lightning_clip.studies.comparison.result import RunResult

RunCell = Callable[[Cell, Path], RunResult]
"""Makes one run and writes its record; a function of a module, with which it is sent to other processes."""


class Engine(ABC):
    """Where the runs of a study are made; the numbers are the same wherever it is.

    Attributes:
        name: What it is called on the command line.
    """

    name: ClassVar[str]

    @contextmanager
    def started(self, jobs: int | None, cells: int) -> Iterator[int]:
        """Have what the runs need, inside a `with` block.

        Args:
            jobs: How many runs at a time; `None` for as many as there is room for.
            cells: How many runs there are.

        Yields:
            How many runs to make at a time.
        """
        yield min(jobs or cpu_count(), max(cells, 1))

    @abstractmethod
    def run(self, run_cell: RunCell, cells: Sequence[tuple[Cell, Path]], jobs: int) -> Generator[RunResult]:
        """Make every run; inside the block of `started`.

        Closing the generator ends the runs that are under way.

        Args:
            run_cell: Makes one run.
            cells: What to run, and the file that each run is recorded in.
            jobs: How many at a time.

        Yields:
            The results as they come, each when its record is complete.

        Raises:
            Exception: What a run has raised.
        """
