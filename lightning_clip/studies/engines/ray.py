"""`RayEngine`: the workers of a Ray cluster."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from joblib import cpu_count

from lightning_clip.studies.engines.cluster import ClusterEngine, need


class RayEngine(ClusterEngine):
    """Each run in a worker of a Ray cluster; needs the extra `ray`.

    The cluster is the one that `ray.init` has been called for if it has, or else the one at `RAY_ADDRESS`: its workers
    need this package and the modules that the study names. Otherwise one with as many processors as jobs is started
    on this machine, and shut down afterwards.
    """

    name = "ray"

    @contextmanager
    def started(self, jobs: int | None, cells: int) -> Iterator[int]:
        """Connect to the cluster, or start one, inside a `with` block.

        Args:
            jobs: How many runs at a time; `None` for as many as the cluster has processors.
            cells: How many runs there are.

        Yields:
            How many runs to make at a time.

        Raises:
            InputError: Ray is not installed.
            OSError: There is no cluster at the address.
        """
        ray = need("ray", "Ray", self.name)
        most = max(cells, 1)
        with ExitStack() as stack:
            if not ray.is_initialized():
                address = os.environ.get("RAY_ADDRESS", "local")
                ours = _local(min(jobs or cpu_count(), most)) if address == "local" else {}
                stack.callback(ray.shutdown)
                ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **ours)
            yield min(jobs or int(ray.cluster_resources().get("CPU", 1)), most)

    def _backend(self) -> Any:
        from lightning_clip.studies.engines.ray_backend import RayBackend

        return RayBackend()


def _local(processors: int) -> dict[str, Any]:
    """A cluster on this machine, whose workers find the modules that this process does."""
    paths = {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    return {"num_cpus": processors, "include_dashboard": False, "runtime_env": {"env_vars": paths}}
