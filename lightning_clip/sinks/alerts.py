"""`AlertSink`: calls a function when something happens in a run that a person may want to know at once."""

from collections.abc import Callable, Sequence

from lightning_clip._checks import check_choice, check_count, check_each, check_positive, check_rule
from lightning_clip.core.record.parameter_totals import ParameterTotals
from lightning_clip.core.record.run_info import Event, RunInfo
from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.sinks.step_alerts import StepAlerts

ALERT_KINDS = ("switch", "cap", "rollback", "non-finite", "stop", "captured", "left-out", "spike", "skip-streak")
"""The kinds of events that this package knows."""


class AlertSink:
    """Call a function with each event of a run: a switch, a rollback, a stop, a spike, a streak of skipped steps.

    Events that callbacks record (`"switch"`, `"cap"`, `"rollback"`, `"non-finite"`, `"stop"`, `"captured"`,
    `"left-out"`) are passed on at once.
    `"spike"`, `"skip-streak"` and a `"non-finite"` that no guard has reported are found in the steps whenever these
    have been read from the device, at the latest after `flush_every_n_steps` steps and at the end of the run.

    The function is called in the training process, on rank zero, and training waits for it: to reach a server use
    `WebhookSink`. If it raises, this sink is set aside with one warning, and the training goes on.

    Args:
        send: The function; it receives an `Event` with `step`, `kind`, `message` and `data`.
        kinds: The kinds of events to pass on; all by default.
        skip_streak: The number of skipped steps in a row that is worth an alert.
        spike_factor: A spike is a norm of at least so many times the median of the latest 100 norms.
        quiet_steps: The number of optimizer steps after a spike in which no further spike is reported.

    Raises:
        ArgumentError: An argument is out of range.
        ArgumentTypeError: `send` cannot be called.

    Example:
        >>> sink = AlertSink(lambda event: print(event.step, event.kind, event.message))
        >>> sink.open(RunInfo())
        >>> sink.write([StepRecord(7, 0, "NoClip()", float("nan"), 1.0, None, 1.0, False, False, False)])
        7 non-finite the norm of the gradient is nan
    """

    def __init__(
        self,
        send: Callable[[Event], object],
        *,
        kinds: Sequence[str] | None = None,
        skip_streak: int = 5,
        spike_factor: float = 10.0,
        quiet_steps: int = 100,
    ) -> None:
        call = "AlertSink"
        check_rule(f"{call}({send!r})", "send must be a function of one Event", holds=callable(send))
        check_each(call, str, kinds=() if kinds is None else kinds)
        for kind in kinds or ():
            check_choice(call, ALERT_KINDS, kinds=kind)
        check_count(call, skip_streak=skip_streak)
        check_count(call, at_least=0, quiet_steps=quiet_steps)
        check_positive(call, spike_factor=spike_factor)
        self.send = send
        self.kinds = frozenset(ALERT_KINDS if kinds is None else kinds)
        self.skip_streak = skip_streak
        self.spike_factor = spike_factor
        self.quiet_steps = quiet_steps
        self._every_kind = kinds is None
        self._of_optimizer: dict[int, StepAlerts] = {}
        self._told: set[int] = set()

    def open(self, run: RunInfo) -> None:
        """Forget the steps of earlier runs.

        Args:
            run: Not used.
        """
        self._of_optimizer, self._told = {}, set()

    def write(self, records: Sequence[StepRecord]) -> None:
        """Look for events in further steps, and pass them on.

        Args:
            records: The records, in order.
        """
        for record in records:
            alerts = self._of_optimizer.get(record.optimizer)
            if alerts is None:
                alerts = self._of_optimizer[record.optimizer] = StepAlerts(
                    skip_streak=self.skip_streak, spike_factor=self.spike_factor, quiet_steps=self.quiet_steps
                )
            for event in alerts.of(record):
                if event.kind != "non-finite" or event.step not in self._told:
                    self._pass_on(event)

    def event(self, event: Event) -> None:
        """Pass on an event that a callback has recorded.

        Args:
            event: The event.
        """
        if event.kind == "non-finite":
            self._told.add(event.step)
        self._pass_on(event)

    def close(self, run: RunInfo, parameters: ParameterTotals) -> None:
        """Do nothing: every event has been passed on.

        Args:
            run: Not used.
            parameters: Not used.
        """

    def _pass_on(self, event: Event) -> None:
        if self._every_kind or event.kind in self.kinds:
            self.send(event)
