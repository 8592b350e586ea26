"""Local clusters with two workers, and runs that reveal in which process they run."""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lightning_clip import MLPRegressor
from lightning_clip.studies import Cell
from lightning_clip.studies.comparison.result import RunResult
from tests.support import fresh
from tests.support.studies import result


@contextmanager
def forking_loky() -> Iterator[None]:
    """Let joblib's loky fork its workers from this process, so that they need not import Lightning again."""
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.backend import context

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context, "_DEFAULT_START_METHOD", "fork")
        patch.setattr(context, "warnings", SimpleNamespace(warn=lambda *args: None))  # it advises against forks
        yield
        get_reusable_executor().shutdown(wait=True, kill_workers=True)


@contextmanager
def dask_cluster() -> Iterator[str]:
    """Yield the address of a scheduler with two workers of two threads each; a run may kill at most one worker."""
    import dask
    from distributed import LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": None, "silence_logs": logging.CRITICAL}
    options["scheduler_kwargs"] = {"dashboard_address": ":0"}
    fresh.prepare()  # from which the workers are forked, and need not import Lightning again
    config = {"distributed.scheduler.allowed-failures": 0, "distributed.worker.multiprocessing-method": "forkserver"}
    with dask.config.set(config), LocalCluster(**options) as cluster:
        yield cluster.scheduler_address


@contextmanager
def ray_cluster() -> Iterator[str]:
    """Yield the address of a cluster with two CPUs, to which this process is connected."""
    import ray

    options = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv(_MARK, "1")
        ray.init("local", num_cpus=2, **options)
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()


class ClusterMLP(MLPRegressor):
    """Trains only in the workers of `ray_cluster`."""

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        if _MARK not in os.environ:
            raise RuntimeError("not in the cluster")
        return super().training_step(batch, batch_idx)


def run_nothing(cell: Cell, record: Path) -> RunResult:
    """Return a run without training or record, whose `steps` is the id of its process."""
    return replace(result(cell.strategy_name, cell.seed), steps=os.getpid())


def run_alone(cell: Cell, record: Path) -> RunResult:
    """Return a run that fails if another one runs in the same process at the same time."""
    if not _ALONE.acquire(blocking=False):
        raise RuntimeError("not alone")
    time.sleep(0.2)
    _ALONE.release()
    return run_nothing(cell, record)


def run_until_death(cell: Cell, record: Path) -> RunResult:
    """Kill the process of the run."""
    os._exit(1)


_ALONE = threading.Lock()
_MARK = "WORKER_OF_A_TEST"
