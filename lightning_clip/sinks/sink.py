"""`Sink`: where records go; `MeasurementSink`: where measurements go too."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from lightning_clip.core.record.measurements import Measurement
from lightning_clip.core.record.parameter_totals import ParameterTotals
from lightning_clip.core.record.run_info import Event, RunInfo
from lightning_clip.core.record.step_record import StepRecord


@runtime_checkable
class Sink(Protocol):
    """A place that records go to, on rank zero; it is given plain numbers only."""

    def open(self, run: RunInfo) -> None:
        """Begin, or go on after a resume.

        Args:
            run: What is being run.
        """

    def write(self, records: Sequence[StepRecord]) -> None:
        """Take in the records of further steps.

        Args:
            records: In order.
        """

    def event(self, event: Event) -> None:
        """Take in something that happened once.

        Args:
            event: For instance a switch of strategy.
        """

    def close(self, run: RunInfo, parameters: ParameterTotals) -> None:
        """End, with what is known only then.

        Args:
            run: What was run, with its duration.
            parameters: The norms of each parameter over the run.
        """


@runtime_checkable
class MeasurementSink(Sink, Protocol):
    """A sink that takes measurements too; others are not given them."""

    def measurement(self, measurement: Measurement) -> None:
        """Take in what a monitor measured now and then.

        Args:
            measurement: Of any kind.
        """
