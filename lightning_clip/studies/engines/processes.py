"""`ProcessEngine` and `LokyEngine`: runs in processes on this machine, forked or started by joblib."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from lightning_clip.studies.cell import Cell
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.engines.engine import Engine, RunCell, in_parallel


class ProcessEngine(Engine):
    """Runs in processes that are forked from this one on Linux. With one job, they run in this process.

    A forked process need not import torch and Lightning again, which takes longer than a short run.
    """

    name = "processes"

    def run(self, run_cell: RunCell, cells: Sequence[tuple[Cell, Path]], jobs: int) -> Generator[RunResult]:
        """Execute every run."""
        if jobs == 1:
            yield from (run_cell(cell, record) for cell, record in cells)
            return
        others = set(multiprocessing.active_children())
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
        with ProcessPoolExecutor(jobs, context, initializer=_follow_parent, initargs=(_join_parent,)) as pool:
            try:
                for future in as_completed([pool.submit(run_cell, cell, record) for cell, record in cells]):
                    yield future.result()
            except BaseException:
                for process in set(multiprocessing.active_children()) - others:
                    process.kill()  # after a gentler signal Lightning keeps running; the pool then ends by itself
                raise


class LokyEngine(Engine):
    """Runs in new processes that joblib's loky starts. With one job, they run in this process."""

    name = "loky"

    def run(self, run_cell: RunCell, cells: Sequence[tuple[Cell, Path]], jobs: int) -> Generator[RunResult]:
        """Execute every run."""
        follow = {"initializer": _follow_parent, "initargs": (_poll_parent,)}
        return in_parallel(run_cell, cells, jobs, backend="loky", **follow)


def _follow_parent(wait: Callable[[multiprocessing.process.BaseProcess], None]) -> None:
    """Leave Ctrl-C and SIGTERM to the parent process, and exit when it ends for any reason.

    Args:
        wait: Returns when the parent has ended.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_exit_after_parent, args=(wait,), daemon=True).start()


def _exit_after_parent(wait: Callable[[multiprocessing.process.BaseProcess], None]) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait(parent)
        os._exit(1)


def _join_parent(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()


def _poll_parent(parent: multiprocessing.process.BaseProcess) -> None:
    """Wait by polling: loky's processes have no sentinel to join, and loky itself would keep them for minutes."""
    while os.getppid() == parent.pid:
        time.sleep(0.2)
