"""`run_study`: hand the cells of a study to processes, and collect what comes back."""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from lightning_clip.core.results import RunResult
from lightning_clip.studies.cell import Cell, run_cell
from lightning_clip.studies.results import ResultsFolder
from lightning_clip.studies.study import Study

__all__ = ["run_study"]


def run_study(
    study: Study,
    folder: ResultsFolder,
    *,
    jobs: int = 1,
    finished: Sequence[RunResult] = (),
    on_result: Callable[[RunResult], None] = lambda result: None,
) -> list[RunResult]:
    """Run every cell of a study that is not finished; results are on disk as soon as each run ends.

    Args:
        study: What to run.
        folder: Where results and records are written.
        jobs: How many runs at a time, each in a process of its own; 1 runs them in this process.
        finished: Results of an interrupted study, which are kept.
        on_result: Called with each result as it comes.

    Returns:
        All results, in the order of `study.cells()`.
    """
    cells = study.cells()
    results = {result.key: result for result in finished}
    waiting = [(cell, folder.record_of(*cell.key)) for cell in cells if cell.key not in results]
    folder.records.mkdir(parents=True, exist_ok=True)
    for result in _run_cells(waiting, jobs):
        results[result.key] = result
        folder.write(study.name, [results[cell.key] for cell in cells if cell.key in results])
        on_result(result)
    return [results[cell.key] for cell in cells]


def _run_cells(cells: Sequence[tuple[Cell, Path]], jobs: int) -> Iterator[RunResult]:
    """Results as they come; with several processes in any order."""
    if jobs == 1:
        yield from (run_cell(cell, record) for cell, record in cells)
        return
    with ProcessPoolExecutor(jobs, _process_context(), initializer=_leave_interrupts_to_parent) as pool:
        try:
            for future in as_completed([pool.submit(run_cell, cell, record) for cell, record in cells]):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _process_context() -> multiprocessing.context.BaseContext:
    """A forked process need not import torch and Lightning again, which takes longer than a short run."""
    return multiprocessing.get_context("fork" if sys.platform == "linux" else None)


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
