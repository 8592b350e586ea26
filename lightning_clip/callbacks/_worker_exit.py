"""`at_worker_exit`: the last words of a process that a Trainer started and that ends with an exception."""

import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.util import Finalize
from typing import Any
from weakref import WeakMethod, ref


def at_worker_exit(method: Callable[..., None], *args: Any) -> None:
    """Call a method when this process ends, if another process started it; Lightning calls no `on_exception` there.

    Args:
        method: A bound method. It is not called if its object, or an argument, is gone. Methods are called in the order
            in which they were given.
        *args: Its arguments.
    """
    if multiprocessing.parent_process() is None:
        return
    living, arguments = WeakMethod(method), [ref(arg) for arg in args]

    def call() -> None:
        bound, values = living(), [argument() for argument in arguments]
        if bound is None or None in values:
            return
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # by which the Trainer ends the other workers meanwhile
        bound(*values)
        sys.stdout.flush()

    Finalize(None, call, exitpriority=next(_PRIORITIES))


_PRIORITIES = iter(range(1_000_000_000, 0, -1))
