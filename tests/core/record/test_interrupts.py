"""`interrupts_deferred`: what is begun is finished before Ctrl-C acts."""

import os
import signal
import threading

import pytest

from lightning_clip.core.record.interrupts import interrupts_deferred


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    sum(range(10))  # Python handles the signal between two instructions


def test_an_interrupt_waits_for_the_end_of_the_block():
    """The block is finished, the interrupt is raised after it, and the handler is the one from before."""
    before, done = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt), interrupts_deferred():  # noqa: PT012
        interrupt()
        done.append(True)
    assert done == [True]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_interrupt_does_not_wait():
    """Somebody who presses Ctrl-C twice means it."""
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts_deferred():  # noqa: PT012
        interrupt()
        interrupt()
        done.append(True)
    assert not done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_in_the_block_is_not_hidden():
    """An interrupt that waits is raised, with the error as its context."""
    with pytest.raises(KeyboardInterrupt) as caught, interrupts_deferred():  # noqa: PT012
        interrupt()
        raise ValueError("mine")
    assert isinstance(caught.value.__context__, ValueError)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_handler_that_is_not_of_python_stays(handler):
    """Where Ctrl-C is ignored, it stays ignored, as Lightning wants it while a run shuts down."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        with interrupts_deferred():
            assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_is_left_alone():
    """Only the main thread may change handlers, and only it is interrupted."""
    errors = []

    def work() -> None:
        try:
            with interrupts_deferred():
                pass
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not errors
