"""`ProcessEngine`: forked processes, which need not import anything again."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from lightning_clip.studies.cell import Cell
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.engines.engine import Engine, RunCell


class ProcessEngine(Engine):
    """Each run in a process of this machine, forked from this one on Linux; a single job runs in this process."""

    name = "processes"

    def run(self, run_cell: RunCell, cells: Sequence[tuple[Cell, Path]], jobs: int) -> Generator[RunResult]:
        """Make every run."""
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
