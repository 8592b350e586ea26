"""`RayEngine`: the workers of a Ray cluster; `RayBackend`: the joblib backend that turns each call into a Ray task."""

import logging
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

from joblib.parallel import ParallelBackendBase

from lightning_clip.studies.engines.cluster import ClusterEngine


class RayEngine(ClusterEngine):
    """Runs in the workers of a Ray cluster; needs the extra `ray`.

    The engine uses the cluster that `ray.init` has connected to, or the cluster at `RAY_ADDRESS`. The workers of such a
    cluster need this package and the modules that the study names. If there is neither, the engine starts a cluster on
    this machine with one CPU per job, and shuts it down afterwards.
    """

    name = "ray"

    def _start(self, resources: ExitStack, workers: int) -> int:
        ray = self._import("ray", "Ray")
        if not ray.is_initialized():
            address = os.environ.get("RAY_ADDRESS", "local")
            options = _local(workers) if address == "local" else {}
            resources.callback(ray.shutdown)
            try:
                ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **options)
            except (OSError, ValueError) as error:
                raise self._unreachable(address, error) from error
        return int(ray.cluster_resources().get("CPU", 1))

    def _backend(self) -> Any:
        return RayBackend()


class RayBackend(ParallelBackendBase):  # type: ignore[misc]
    """Unlike `ray.util.joblib`, it returns each result at once, and gives the next call to the first free worker."""

    supports_retrieve_callback = True

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
        """Start to work for a `joblib.Parallel`."""
        self.parallel = parallel
        self._tasks: set[Any] = set()
        return self.effective_n_jobs(n_jobs)

    def effective_n_jobs(self, n_jobs: int) -> int:
        """At least two: joblib executes the calls of a single job in this process, not in the cluster."""
        return max(n_jobs, 2)

    def submit(self, func: Callable[[], Any], callback: Callable[["Future[Any]"], None]) -> "Future[Any]":
        """Send a call to the cluster."""
        import ray

        task = ray.remote(_call).remote(func)
        self._tasks.add(task)
        future: Future[Any] = task.future()
        future.add_done_callback(lambda _: self._tasks.discard(task))
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: "Future[Any]") -> Any:
        """Return what a call returned, or raise the exception that it raised."""
        from ray.exceptions import RayTaskError

        try:
            return out.result()
        except RayTaskError as error:
            raise error.cause from error

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Stop the calls in progress."""
        import ray

        for task in list(self._tasks):
            ray.cancel(task, force=True)


def _call(func: Callable[[], Any]) -> Any:
    return func()


def _local(processors: int) -> dict[str, Any]:
    """The options of a cluster on this machine whose workers find the same modules as this process."""
    paths = {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    return {"num_cpus": processors, "include_dashboard": False, "runtime_env": {"env_vars": paths}}
