"""`Engine`: where the runs of a study execute; `in_parallel`: calls through joblib, for the engines that use it."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from joblib import Parallel, cpu_count, delayed

from lightning_clip.studies.cell import Cell
from lightning_clip.studies.comparison.result import RunResult

T = TypeVar("T")

RunCell = Callable[[Cell, Path], RunResult]
"""Executes one run and writes its record. It must be a module-level function, because other processes import it."""


class Engine(ABC):
    """Where the runs of a study execute. The results are the same for every engine.

    Attributes:
        name: The name of the engine on the command line.
    """

    name: ClassVar[str]

    @contextmanager
    def started(self, jobs: int | None, cells: int) -> Iterator[int]:
        """Provide what the runs need for the length of a `with` block.

        Args:
            jobs: The number of runs at a time; `None` for as many as fit.
            cells: The number of runs.

        Yields:
            The number of runs at a time.

        Raises:
            InputError: The package or the cluster that the engine needs is not available.
        """
        most = max(cells, 1)
        with ExitStack() as resources:
            room = self._start(resources, min(jobs or cpu_count(), most))
            yield min(jobs or room, most)

    def _start(self, resources: ExitStack, workers: int) -> int:
        """Start or connect to what the runs need.

        Args:
            resources: Closes what was started, at the end of the block.
            workers: The number of workers of a new cluster.

        Returns:
            How many runs fit at a time.
        """
        return int(cpu_count())

    @abstractmethod
    def run(self, run_cell: RunCell, cells: Sequence[tuple[Cell, Path]], jobs: int) -> Generator[RunResult]:
        """Execute every run, inside the block of `started`. Closing the generator stops the runs in progress.

        Args:
            run_cell: Executes one run.
            cells: What to run, and the path of each record.
            jobs: The number of runs at a time.

        Yields:
            Each result as soon as its record is complete, in any order.

        Raises:
            Exception: An exception that a run raised.
        """


def in_parallel(
    function: Callable[..., T], calls: Iterable[tuple[Any, ...]], jobs: int, **backend: Any
) -> Generator[T]:
    """Call a function many times through joblib. No call starts before there is room for it.

    Args:
        function: The function to call.
        calls: The arguments of each call.
        jobs: The number of calls at a time.
        **backend: The joblib backend and its arguments.

    Yields:
        The results, in any order.
    """
    parallel = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch=jobs, **backend)
    results = parallel(delayed(function)(*arguments) for arguments in calls)
    try:
        for result in results:  # noqa: UP028 (`yield from` would close `results` before `finally`)
            yield result
    finally:
        with warnings.catch_warnings():  # joblib warns about the calls whose results nobody collects
            warnings.simplefilter("ignore")
            results.close()
