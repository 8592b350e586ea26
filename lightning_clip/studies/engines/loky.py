"""`LokyEngine`: joblib's own processes."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path

from lightning_clip.studies.cell import Cell
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.engines.engine import Engine, RunCell
from lightning_clip.studies.engines.parallel import in_parallel


class LokyEngine(Engine):
    """Each run in a process of this machine that has been started afresh; a single job runs in this process."""

    name = "loky"

    def run(self, run_cell: RunCell, cells: Sequence[tuple[Cell, Path]], jobs: int) -> Generator[RunResult]:
        """Make every run."""
        return in_parallel(run_cell, cells, jobs, backend="loky", initializer=_live_as_long_as_parent)


def _live_as_long_as_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it ends, in whatever way: loky alone would stay for minutes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    while parent is not None and os.getppid() == parent.pid:  # loky gives it no sentinel that could be waited for
        time.sleep(0.2)
    os._exit(1)
