"""`Sink`: the protocol of a destination for records; `MeasurementSink`: one that accepts measurements too."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from lightning_clip.core.record.measurements import Measurement
from lightning_clip.core.record.parameter_totals import ParameterTotals
from lightning_clip.core.record.run_info import Event, RunInfo
from lightning_clip.core.record.step_record import StepRecord


@runtime_checkable
class Sink(Protocol):
    """A destination for the record of a run; it runs on rank zero only and receives plain numbers only."""

    def open(self, run: RunInfo) -> None:
        """Start writing, or continue after a resume.

        Args:
            run: The description of the run.
        """

    def write(self, records: Sequence[StepRecord]) -> None:
        """Write the records of further steps.

        Args:
            records: The records, in order.
        """

    def event(self, event: Event) -> None:
        """Write an event.

        Args:
            event: The event, for instance a strategy switch.
        """

    def close(self, run: RunInfo, parameters: ParameterTotals) -> None:
        """Write what is only known at the end, and close.

        Args:
            run: The description of the run, with its duration.
            parameters: The totals of each parameter over the run.
        """


@runtime_checkable
class MeasurementSink(Sink, Protocol):
    """A sink that accepts measurements too; other sinks do not receive them."""

    def measurement(self, measurement: Measurement) -> None:
        """Write a measurement.

        Args:
            measurement: A measurement of any kind.
        """
