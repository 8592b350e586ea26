"""`StepAlerts`: finds spikes, streaks of skipped steps and NaN or infinite gradients in the records of steps."""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator

from lightning_clip.core.record.run_info import Event
from lightning_clip.core.record.step_record import StepRecord

_WINDOW = 100
_FEWEST_BEFORE = 20  # with fewer norms before it, a large one may be ordinary


class StepAlerts:
    """Turns the steps of one optimizer into events worth an alert.

    - `"spike"`: a norm of at least `spike_factor` times the median of the latest 100 norms, of which at least 20 are
      known. After a spike, the next `quiet_steps` steps raise no further one.
    - `"skip-streak"`: `skip_streak` skipped steps in a row; once until a step is made again.
    - `"non-finite"`: the first step of each streak whose norm is NaN or infinite.

    Args:
        skip_streak: The number of skipped steps in a row, in optimizer steps.
        spike_factor: The factor above the median.
        quiet_steps: The number of optimizer steps after a spike.
    """

    def __init__(self, *, skip_streak: int, spike_factor: float, quiet_steps: int) -> None:
        self.skip_streak = skip_streak
        self.spike_factor = spike_factor
        self.quiet_steps = quiet_steps
        self._latest: deque[float] = deque(maxlen=_WINDOW)
        self._sorted: list[float] = []
        self._skipped = 0
        self._quiet_until = -1
        self._was_finite = True

    def of(self, record: StepRecord) -> Iterator[Event]:
        """Yield the events of one further step.

        Args:
            record: The step.
        """
        self._skipped = self._skipped + 1 if record.skipped else 0
        if self._skipped == self.skip_streak:
            message = f"{self._skipped} steps in a row were skipped, the latest with norm {record.norm_before:.4g}"
            yield _event(record, "skip-streak", message, skipped=self._skipped)
        if not record.finite:
            if self._was_finite:
                yield _event(record, "non-finite", f"the norm of the gradient is {record.norm_before}")
        elif record.is_sample:
            yield from self._spike(record)
            self._add(record.norm_before)
        self._was_finite = record.finite

    def _spike(self, record: StepRecord) -> Iterator[Event]:
        if len(self._sorted) < _FEWEST_BEFORE or record.step < self._quiet_until:
            return
        median = self._sorted[len(self._sorted) // 2]
        if record.norm_before >= self.spike_factor * median:
            self._quiet_until = record.step + self.quiet_steps
            factor = record.norm_before / median
            message = f"the norm of the gradient is {record.norm_before:.4g}, {factor:.3g} times the median before it"
            yield _event(record, "spike", message, median=median)

    def _add(self, norm: float) -> None:
        if len(self._latest) == _WINDOW:
            del self._sorted[bisect_left(self._sorted, self._latest[0])]
        self._latest.append(norm)
        insort(self._sorted, norm)


def _event(record: StepRecord, kind: str, message: str, **data: float) -> Event:
    return Event(record.step, kind, message, {"optimizer": record.optimizer, "norm": record.norm_before, **data})
