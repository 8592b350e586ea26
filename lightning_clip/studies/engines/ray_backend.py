"""`RayBackend`: a backend of joblib that makes every call a task of Ray."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from joblib.parallel import ParallelBackendBase


class RayBackend(ParallelBackendBase):  # type: ignore[misc]
    """Unlike `ray.util.joblib`, it has each result when it comes, and gives the next call to whoever is free."""

    supports_retrieve_callback = True

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
        """Begin to work for a `joblib.Parallel`."""
        self.parallel = parallel
        self._tasks: set[Any] = set()
        return self.effective_n_jobs(n_jobs)

    def effective_n_jobs(self, n_jobs: int) -> int:
        """At least two: joblib makes a single job's calls in this process, and not in the cluster."""
        return max(n_jobs, 2)

    def submit(self, func: Callable[[], Any], callback: Callable[["Future[Any]"], None]) -> "Future[Any]":
        """Hand a call to the cluster."""
        import ray

        task = ray.remote(_call).remote(func)
        self._tasks.add(task)
        future: Future[Any] = task.future()
        future.add_done_callback(lambda _: self._tasks.discard(task))
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: "Future[Any]") -> Any:
        """What a call has returned, or the exception that it has raised itself."""
        from ray.exceptions import RayTaskError

        try:
            return out.result()
        except RayTaskError as error:
            raise error.cause from error

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """End the calls that are under way."""
        import ray

        for task in list(self._tasks):
            ray.cancel(task, force=True)


def _call(func: Callable[[], Any]) -> Any:
    return func()
