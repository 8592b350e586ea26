"""`interrupts_deferred`: Ctrl-C waits until a piece of work that must not be left half done is complete."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Handle a SIGINT that arrives inside the block when the block ends; a second one is handled at once.

    Does nothing outside the main thread, to which Python delivers no signals.

    Example:
        >>> with interrupts_deferred():
        ...     total = sum(range(10))
        >>> total
        45
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    waiting: list[FrameType | None] = []

    def defer(number: int, frame: FrameType | None) -> None:
        if waiting:
            handler(number, frame)
        waiting.append(frame)

    signal.signal(signal.SIGINT, defer)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if waiting:
            handler(signal.SIGINT, waiting[0])
