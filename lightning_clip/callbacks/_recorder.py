"""`Recorder`: moves pending steps from the device into the history and the sinks; every observer has one."""

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any
from uuid import uuid4

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_clip._errors import reason_of
from lightning_clip.core.record.history import History
from lightning_clip.core.record.interrupts import interrupts_deferred
from lightning_clip.core.record.measurements import Measurement
from lightning_clip.core.record.pending_step import PendingStep
from lightning_clip.core.record.run_info import Event, RunInfo
from lightning_clip.core.record.step_buffer import StepBuffer
from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.core.recurrent.gates import gate_measurements
from lightning_clip.functional.norms import local_values
from lightning_clip.sinks.sink import MeasurementSink, Sink


class Recorder:
    """Keeps the record of one run, across interruptions and resumes.

    The steps of the current batch stay apart until the batch ends, because their loss is not known before. So reading
    the history in the middle of a batch shows the batches before it, and loses nothing. A sink that fails is reported
    once and set aside; the history and the other sinks keep everything.

    Args:
        sinks: The destinations of the record besides the history.

    Attributes:
        known: The history up to the latest flush.
        latest: The records of the latest finished batch that made a step, once they have been read.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.known = History()
        self.latest: Sequence[StepRecord] = ()
        self._steps = StepBuffer()
        self._backward: Tensor | None = None
        self._is_used = False
        self._steps_of_latest = 0
        self._sinks = list(sinks)
        self._open: list[Sink] = []
        self._run = RunInfo()
        self._started: float | None = None
        self._seconds_before = 0.0
        self._id = uuid4().hex
        self._is_broken = False
        self._writes = False

    @property
    def run(self) -> RunInfo:
        """The description of the run, with its duration so far."""
        self._run.seconds = self._seconds()
        return self._run

    @property
    def waiting(self) -> int:
        """The number of steps of finished batches that have not been read from the device."""
        return self._steps.finished

    @property
    def history(self) -> History:
        """The record of the finished batches; reads the device."""
        self.flush()
        return self.known

    def begin(self, run: RunInfo, *, start_step: int, write: bool) -> None:
        """Start the clock and open the sinks.

        Args:
            run: The description of the run.
            start_step: The number of optimizer steps completed.
            write: Whether this process writes to the sinks; only rank zero does.
        """
        self._run = replace(run, id=self._id, start_step=start_step)
        self._started = time.monotonic()
        self._writes = write
        self._open = list(self._sinks) if write else []
        self._tell_sinks(lambda sink: sink.open(self.run))

    def attach(self, sink: Sink) -> None:
        """Open a further sink until this fit ends; only where this process writes to sinks.

        Args:
            sink: A destination of the records from now on.
        """
        if self._writes and self._started is not None:
            self._open.append(sink)
            self._tell(sink, lambda one: one.open(self.run))

    def _tell_sinks(self, tell: Callable[[Sink], None]) -> None:
        """Call every open sink; one that raises is set aside and reported in one warning."""
        for sink in list(self._open):
            self._tell(sink, tell)

    def _tell(self, sink: Sink, tell: Callable[[Sink], None]) -> None:
        try:
            tell(sink)
        except Exception as error:
            self._open.remove(sink)
            rank_zero_warn(
                f"{type(sink).__name__} is set aside, and the training goes on without it: {reason_of(error)}"
            )

    def add(self, step: PendingStep) -> None:
        """Keep a step of the current batch on the device.

        Args:
            step: The pending step.
        """
        step.note(loss=self._backward)
        self._is_used = True
        self._steps.add(step)

    def note_backward(self, loss: Tensor) -> None:
        """Note a loss that is about to be passed backward in manual optimization, where each optimizer has its own.

        Args:
            loss: The loss, `()`; those since the last step are added up. A tensor of several numbers is none.
        """
        if loss.numel() != 1:
            return
        loss = local_values(loss.detach()).reshape(())
        self._backward = loss if self._backward is None or self._is_used else self._backward + loss
        self._is_used = False

    def end_batch(self, outputs: Any = None) -> bool:
        """Complete the steps of the current batch.

        Args:
            outputs: What `training_step` returned: the training loss, or a mapping that contains it; `None` leaves each
                step the loss that was passed backward for it, as far as that is known.

        Returns:
            Whether the batch made a step.
        """
        steps, self._backward = self._steps.pending[self._steps.finished :], None
        if not steps:
            return False
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor) and loss.numel() == 1:
            loss = local_values(loss.detach())
            for step in steps:
                step.note(loss=loss)
        self._steps_of_latest = len(steps)
        self._steps.finished += len(steps)  # the steps stay where they are: Ctrl-C at any point loses none
        return True

    def flush(self) -> None:
        """Read the steps of the finished batches from the device into the history and the sinks.

        A device that cannot be read any more ends the record with one warning, and no training. Ctrl-C waits until this
        is done: steps that have left the device would be lost otherwise.
        """
        if self._is_broken:
            self._steps = StepBuffer()
        waiting = self.waiting
        if not waiting:
            return
        try:
            with interrupts_deferred():
                self._flush()
        except Exception as error:
            self._is_broken = True
            rank_zero_warn(
                f"The last {waiting} steps cannot be read, and the record ends before them: {reason_of(error)}"
            )

    def _flush(self) -> None:
        records = self._steps.flush(self.waiting)
        if records:
            self.latest = records[-self._steps_of_latest :]
            self.known.extend(records)
            self._tell_sinks(lambda sink: sink.write(records))
            for measurement in gate_measurements(records):
                self.add_measurement(measurement)

    def add_event(self, event: Event) -> None:
        """Add an event to the history and the sinks, ahead of the pending steps.

        Args:
            event: The event, for instance a strategy switch.
        """
        self.known.events.append(event)
        self._tell_sinks(lambda sink: sink.event(event))

    def add_measurement(self, measurement: Measurement) -> None:
        """Add a measurement to the history and to the sinks that accept them, ahead of the pending steps.

        Args:
            measurement: A measurement of any kind.
        """
        self.known.measurements.add(measurement)
        self._tell_sinks(lambda sink: sink.measurement(measurement) if isinstance(sink, MeasurementSink) else None)

    def end(self) -> None:
        """Flush all steps, stop the clock and close the sinks."""
        self.end_batch()
        self.flush()
        self._seconds_before, self._started = self._seconds(), None
        self._tell_sinks(lambda sink: sink.close(self.run, self.known.parameters))
        self._open = []

    def _seconds(self) -> float:
        return self._seconds_before + (time.monotonic() - self._started if self._started is not None else 0.0)

    def state_dict(self, *, steps_made: int) -> dict[str, Any]:
        """Return plain numbers, strings, lists and tensors; reads the device.

        Args:
            steps_made: The number of optimizer steps completed. A checkpoint that is saved before the batch ends also
                contains the steps that the batch has made, without their loss.
        """
        history = self.history
        made = [step for step in self._steps.pending if step.step < steps_made]
        if made:
            history, buffer = deepcopy(history), StepBuffer()
            buffer.pending = made
            history.extend(buffer.flush())
        return {"history": history.state_dict(), "seconds": self._seconds(), "run_id": self._id}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.known.load_state_dict(state["history"])
        self._seconds_before = state["seconds"]
        self._id = state.get("run_id", "")  # records of the first version have none
