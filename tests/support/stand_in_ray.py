"""A stand-in for Ray: the part of its interface that `RayEngine` uses, with processes forked from this one.

Starting a real cluster takes as long as hundreds of other tests. The tests marked slow use one.
"""

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest


class RayTaskError(Exception):
    """What a task raised, with the exception itself as its cause."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Task:
    """A call in a process of the cluster."""

    def __init__(self, call: "Future[Any]") -> None:
        self.call, self.outcome = call, Future()
        call.add_done_callback(self._pass_on)

    def future(self) -> "Future[Any]":
        return self.outcome

    def _pass_on(self, call: "Future[Any]") -> None:
        try:
            self.outcome.set_result(call.result())
        except BrokenProcessPool as death:
            self.outcome.set_exception(death)
        except Exception as error:
            self.outcome.set_exception(RayTaskError(error))


class StandIn(ModuleType):
    """The module `ray`.

    Attributes:
        cpus: The CPUs of the cluster; none if there is no cluster.
        addresses: Where clusters were looked for.
    """

    def __init__(self) -> None:
        super().__init__("ray")
        self.cpus: int | None = None
        self.pool: ProcessPoolExecutor | None = None
        self.addresses: list[str] = []

    def is_initialized(self) -> bool:
        return self.cpus is not None

    def init(self, address: str, *, num_cpus: int = 2, **options: Any) -> None:
        self.cpus = num_cpus
        self.addresses.append(address)

    def shutdown(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)
        self.cpus, self.pool = None, None

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.cpus or 0)}

    def remote(self, function: Callable[..., Any]) -> Any:
        return type("Remote", (), {"remote": staticmethod(lambda *args: self._task(function, args))})

    def cancel(self, task: Task, *, force: bool) -> None:
        task.call.cancel()

    def _task(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Task:
        for _ in range(2):
            if self.pool is None:
                self.pool = ProcessPoolExecutor(self.cpus, multiprocessing.get_context("fork"))
            try:
                return Task(self.pool.submit(function, *args))
            except BrokenProcessPool:  # an earlier task has killed its process
                self.pool = None
        raise AssertionError("a new pool is broken")


@contextmanager
def stand_in_ray() -> Iterator[StandIn]:
    """Let `import ray` give the stand-in."""
    module, exceptions = StandIn(), ModuleType("ray.exceptions")
    exceptions.RayTaskError = RayTaskError  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "ray", module)
        patch.setitem(sys.modules, "ray.exceptions", exceptions)
        yield module
        module.shutdown()
