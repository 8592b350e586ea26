"""`Recorder`: Ctrl-C between any two instructions loses no step and doubles none."""

import inspect
import signal
import sys
from collections import Counter
from contextlib import contextmanager

import torch

from lightning_clip.callbacks._recorder import Recorder
from lightning_clip.core import PendingStep, StepBuffer

WATCHED = {
    method.__code__ for kind in (Recorder, StepBuffer) for method in vars(kind).values() if inspect.isfunction(method)
}


def pending(step: int) -> PendingStep:
    norms = torch.tensor([3.0, 4.0])
    return PendingStep(step, 0, "Some()", ("a", "b"), norms.norm(), norms, 1.0)


def train(recorder: Recorder, made: list[int]) -> None:
    """Two evaluations of each step, as LBFGS makes them, and a flush every other batch."""
    for step in range(4):
        recorder.add(pending(step))
        recorder.add(pending(step))
        made.append(step)
        recorder.end_batch(torch.tensor(float(step)))
        if step % 2:
            recorder.flush()


@contextmanager
def ctrl_c_before(position: int):
    """Send SIGINT before the instruction at this position, of those that the recorder runs for the first two times."""
    visits, passed = Counter(), 0

    def trace(frame, event, argument):
        nonlocal passed
        if frame.f_code not in WATCHED:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            place = (frame.f_code, frame.f_lasti)
            visits[place] += 1
            passed += visits[place] <= 2
            if passed == position:
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 traces instructions only if a frame asked for it before
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def test_ctrl_c_before_every_instruction():
    """The record ends with the steps made, each once; the one under way may be the last."""
    position, arrived = 0, True
    while arrived:
        position += 1
        recorder, made, arrived = Recorder([]), [], False
        try:
            with ctrl_c_before(position):
                train(recorder, made)
        except KeyboardInterrupt:
            arrived = True
        recorder.end()
        kept = [record.step for record in recorder.history]
        assert kept in (made, [*made, len(made)]), position
        assert sum(total.steps for total in recorder.history.aggregates.values()) == len(kept), position
    assert made == [0, 1, 2, 3]
    assert position > 200
