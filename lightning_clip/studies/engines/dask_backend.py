"""`DaskBackend`: joblib's backend for Dask, for runs that may kill their worker.

It has a file of its own because importing joblib's backend imports Dask.
"""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from joblib._dask import DaskDistributedBackend


class DaskBackend(DaskDistributedBackend):  # type: ignore[misc]
    """joblib's backend, except that it reports a call that killed its worker: joblib's own would wait forever."""

    def effective_n_jobs(self, n_jobs: int) -> int:
        """At least two: joblib executes the calls of a single job in this process, not in the cluster."""
        return max(n_jobs, 2)

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], None]) -> "Future[Any]":
        """Send a call to the cluster, and call back when it fails too."""

        def report_failure(done: "Future[Any]") -> None:
            if (error := done.exception()) is not None:
                callback(error)

        future: Future[Any] = super().submit(func, callback)
        future.add_done_callback(report_failure)
        return future
