"""Clusters of two workers on this machine, and runs that tell where they execute."""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lightning_clip import MLPRegressor
from lightning_clip.studies import Cell
from lightning_clip.studies.comparison.result import RunResult
from tests.support.studies import result


@contextmanager
def dask_cluster() -> Iterator[str]:
    """The address of a scheduler with two workers of two threads each. A run that kills a worker is not retried."""
    import dask
    from distributed import LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": None, "silence_logs": logging.CRITICAL}
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), LocalCluster(**options) as cluster:
        yield cluster.scheduler_address


@contextmanager
def ray_cluster() -> Iterator[str]:
    """The address of a cluster with two CPUs that this process is connected to."""
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
    """A run without training or record. Its steps are the ID of the process that executed it."""
    return replace(result(cell.strategy_name, cell.seed), steps=os.getpid())


def run_alone(cell: Cell, record: Path) -> RunResult:
    """A run that fails if another run executes in the same process at the same time."""
    if not _ALONE.acquire(blocking=False):
        raise RuntimeError("not alone")
    time.sleep(0.2)
    _ALONE.release()
    return run_nothing(cell, record)


def run_until_death(cell: Cell, record: Path) -> RunResult:
    """A run that kills its process."""
    os._exit(1)


_ALONE = threading.Lock()
_MARK = "WORKER_OF_A_TEST"
