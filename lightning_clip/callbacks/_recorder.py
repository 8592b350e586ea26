"""`Recorder`: moves pending steps from the device into the history and the sinks; every observer has one."""

import time
from collections.abc import Sequence
from typing import Any

from lightning_clip.core.record.history import History
from lightning_clip.core.record.measurements import Measurement
from lightning_clip.core.record.pending_step import PendingStep
from lightning_clip.core.record.run_info import Event, RunInfo
from lightning_clip.core.record.step_buffer import StepBuffer
from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.core.recurrent.gates import gate_measurements
from lightning_clip.sinks.sink import MeasurementSink, Sink


class Recorder:
    """Keeps the record of a run, across interruptions and resumes.

    Args:
        sinks: The destinations of the record besides the history.

    Attributes:
        waiting: The steps that have not been read from the device.
        known: The history up to the latest flush.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.waiting = StepBuffer()
        self.known = History()
        self._sinks = list(sinks)
        self._open: list[Sink] = []
        self._run = RunInfo()
        self._started: float | None = None
        self._seconds_before = 0.0

    @property
    def run(self) -> RunInfo:
        """The description of the run, with its duration so far."""
        self._run.seconds = self._seconds()
        return self._run

    @property
    def history(self) -> History:
        """The record so far; reads the device."""
        self.flush()
        return self.known

    def begin(self, run: RunInfo, *, write: bool) -> None:
        """Start the clock and open the sinks.

        Args:
            run: The description of the run.
            write: Whether this process writes to the sinks; only rank zero does.
        """
        self._run = run
        self._started = time.monotonic()
        self._open = self._sinks if write else []
        for sink in self._open:
            sink.open(self.run)

    def add(self, step: PendingStep) -> None:
        """Keep a step on the device until the next flush.

        Args:
            step: The pending step.
        """
        self.waiting.add(step)

    def flush(self) -> list[StepRecord]:
        """Read the pending steps from the device into the history and the sinks.

        Returns:
            The records of the steps, in order.
        """
        records = self.waiting.flush()
        if records:
            self.known.extend(records)
            for sink in self._open:
                sink.write(records)
            for measurement in gate_measurements(records):
                self.add_measurement(measurement)
        return records

    def add_event(self, event: Event) -> None:
        """Add an event to the history and the sinks, ahead of the pending steps.

        Args:
            event: The event, for instance a strategy switch.
        """
        self.known.events.append(event)
        for sink in self._open:
            sink.event(event)

    def add_measurement(self, measurement: Measurement) -> None:
        """Add a measurement to the history and to the sinks that accept them, ahead of the pending steps.

        Args:
            measurement: A measurement of any kind.
        """
        self.known.measurements.add(measurement)
        for sink in self._open:
            if isinstance(sink, MeasurementSink):
                sink.measurement(measurement)

    def end(self) -> None:
        """Flush the pending steps, stop the clock and close the sinks."""
        self.flush()
        self._seconds_before, self._started = self._seconds(), None
        sinks, self._open = self._open, []
        for sink in sinks:
            sink.close(self.run, self.known.parameters)

    def _seconds(self) -> float:
        return self._seconds_before + (time.monotonic() - self._started if self._started is not None else 0.0)

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers, strings, lists and tensors; reads the device."""
        return {"history": self.history.state_dict(), "seconds": self._seconds()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.known.load_state_dict(state["history"])
        self._seconds_before = state["seconds"]
