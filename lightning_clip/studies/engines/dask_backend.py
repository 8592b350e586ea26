"""`DaskBackend`: joblib's backend for Dask, where a run may be the end of its worker."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from joblib._dask import DaskDistributedBackend


class DaskBackend(DaskDistributedBackend):  # type: ignore[misc]
    """joblib's backend, which by itself waits for ever where a call has ended its workers."""

    def effective_n_jobs(self, n_jobs: int) -> int:
        """At least two: joblib makes a single job's calls in this process, and not in the cluster."""
        return max(n_jobs, 2)

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], None]) -> "Future[Any]":
        """Hand a call to the cluster, and hear of its failure too."""

        def tell(done: "Future[Any]") -> None:
            if (error := done.exception()) is not None:
                callback(error)

        future: Future[Any] = super().submit(func, callback)
        future.add_done_callback(tell)
        return future
