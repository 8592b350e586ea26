"""`DaskEngine`: the workers of a Dask cluster."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from joblib import cpu_count

from lightning_clip.studies.engines.cluster import ClusterEngine, need


class DaskEngine(ClusterEngine):
    """Each run in a worker of a Dask cluster; needs the extra `dask`.

    The cluster is that of the current `distributed.Client` if there is one, or else that of the scheduler which
    `DASK_SCHEDULER_ADDRESS` (or Dask's configuration) names: the workers need this package and the modules that the
    study names. Otherwise a cluster of as many workers as jobs is started on this machine, and closed afterwards.
    A worker makes one run at a time, however many threads it has.
    """

    name = "dask"

    @contextmanager
    def started(self, jobs: int | None, cells: int) -> Iterator[int]:
        """Connect to the cluster, or start one, inside a `with` block.

        Args:
            jobs: How many runs at a time; `None` for as many as the cluster has workers.
            cells: How many runs there are.

        Yields:
            How many runs to make at a time.

        Raises:
            InputError: Dask is not installed.
            OSError: There is no scheduler at the address, or it has no worker.
        """
        distributed = need("distributed", "Dask", self.name)
        address = need("dask", "Dask", self.name).config.get("scheduler-address", None)
        with ExitStack() as stack:
            client = _current_client(distributed)
            if client is None and address is None:
                most = min(jobs or cpu_count(), max(cells, 1))
                address = stack.enter_context(distributed.LocalCluster(n_workers=most, **_LOCAL))
            client = client or stack.enter_context(distributed.Client(address, timeout=_TIMEOUT))
            client.wait_for_workers(1, timeout=_TIMEOUT)
            yield min(jobs or len(client.nthreads()), max(cells, 1))

    def _backend(self) -> Any:
        from lightning_clip.studies.engines.dask_backend import DaskBackend

        return DaskBackend()


_TIMEOUT = 30
"""Seconds to wait for a scheduler, and for its first worker."""

_LOCAL: dict[str, Any] = {
    "threads_per_worker": 1,
    "memory_limit": 0,  # none, as without Dask
    "dashboard_address": None,
    "scheduler_kwargs": {"dashboard_address": ":0"},  # any port: that of another study would be complained about
    "silence_logs": logging.CRITICAL,
    "preload": ["import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"],  # Ctrl-C is for this process
}
"""A cluster on this machine."""


def _current_client(distributed: Any) -> Any:
    try:
        return distributed.Client.current()
    except ValueError:
        return None
