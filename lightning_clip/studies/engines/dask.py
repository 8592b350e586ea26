"""`DaskEngine`: the workers of a Dask cluster."""

import logging
from contextlib import ExitStack
from typing import Any

from lightning_clip.studies.engines.cluster import ClusterEngine


class DaskEngine(ClusterEngine):
    """Runs in the workers of a Dask cluster; needs the extra `dask`.

    The engine uses the cluster of the current `distributed.Client`, or the scheduler at `DASK_SCHEDULER_ADDRESS` (or
    in Dask's configuration). The workers of such a cluster need this package and the modules that the study names.
    If there is neither, the engine starts a cluster on this machine with one worker per job, and closes it afterwards.
    A worker executes one run at a time, however many threads it has.
    """

    name = "dask"

    def _start(self, resources: ExitStack, workers: int) -> int:
        distributed = self._import("distributed", "Dask")
        address = self._import("dask", "Dask").config.get("scheduler-address", None)
        client = _current_client(distributed)
        if client is None and address is None:
            address = resources.enter_context(distributed.LocalCluster(n_workers=workers, **_LOCAL))
        try:
            client = client or resources.enter_context(distributed.Client(address, timeout=_TIMEOUT))
            client.wait_for_workers(1, timeout=_TIMEOUT)
        except OSError as error:
            raise self._unreachable(address or client.scheduler.address, error) from error
        return len(client.nthreads())

    def _backend(self) -> Any:
        from lightning_clip.studies.engines.dask_backend import DaskBackend

        return DaskBackend()


_TIMEOUT = 30
"""Seconds to wait for a scheduler, and for its first worker."""

_LOCAL: dict[str, Any] = {
    "threads_per_worker": 1,
    "memory_limit": 0,  # no limit, as without Dask
    "dashboard_address": None,
    "scheduler_kwargs": {"dashboard_address": ":0"},  # any port: that of another study would be complained about
    "silence_logs": logging.CRITICAL,
    "preload": ["import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"],  # Ctrl-C is for this process
}
"""The options of a cluster on this machine."""


def _current_client(distributed: Any) -> Any:
    try:
        return distributed.Client.current()
    except ValueError:
        return None
