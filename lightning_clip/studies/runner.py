"""`run_study`: hand the cells of a study to processes, and collect what comes back."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path

from lightning_clip.core.results import RunResult
from lightning_clip.errors import InputError
from lightning_clip.studies.cell import Cell
from lightning_clip.studies.one_run import run_cell
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
        All results, in the order of `study.cells()`, then those among `finished` that the study does not ask for.

    Raises:
        InputError: The folder holds results that are not among `finished`, and would be lost.
    """
    if folder.has_results() and any(result not in finished for result in folder.read()[1]):
        raise InputError(f"{folder.path}: it holds results; name another folder, or give them as `finished` to go on")
    cells = study.cells()
    results = {result.key: result for result in finished}
    waiting = [(cell, folder.record_of(cell.key)) for cell in cells if cell.key not in results]
    order = dict.fromkeys([*(cell.key for cell in cells), *results])  # a run that the study no longer asks for is kept
    folder.records.mkdir(parents=True, exist_ok=True)
    folder.write(study.name, finished)
    with closing(_run_cells(waiting, jobs)) as running:
        for result in running:
            results[result.key] = result
            folder.write(study.name, [results[key] for key in order if key in results])
            on_result(result)
    return [results[key] for key in order]


def _run_cells(cells: Sequence[tuple[Cell, Path]], jobs: int) -> Generator[RunResult]:
    """Results as they come; with several processes in any order."""
    if jobs == 1:
        yield from (run_cell(cell, record) for cell, record in cells)
        return
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(jobs, _process_context(), initializer=_live_as_long_as_parent) as pool:
        try:
            for future in as_completed([pool.submit(run_cell, cell, record) for cell, record in cells]):
                yield future.result()
        except BaseException:
            for process in set(multiprocessing.active_children()) - others:
                process.kill()  # Lightning goes on for a while after a gentler signal; the pool then ends by itself
            raise


def _process_context() -> multiprocessing.context.BaseContext:
    """A forked process need not import torch and Lightning again, which takes longer than a short run."""
    return multiprocessing.get_context("fork" if sys.platform == "linux" else None)


def _live_as_long_as_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it ends, in whatever way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
