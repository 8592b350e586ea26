"""`at_worker_exit`: the last words of a process that a Trainer started and that ends with an exception."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.util import Finalize
from weakref import WeakMethod


def at_worker_exit(method: Callable[[], None]) -> None:
    """Call a method when this process ends, if another process started it; Lightning calls no `on_exception` there.

    Args:
        method: A bound method, which is not called if its object is gone. Methods are called in the order given.
    """
    if multiprocessing.parent_process() is None:
        return
    reference = WeakMethod(method)

    def call() -> None:
        living = reference()
        if living is not None:
            living()

    Finalize(None, call, exitpriority=next(_PRIORITIES))


_PRIORITIES = iter(range(1_000_000, 0, -1))
