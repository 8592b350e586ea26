"""`WebhookSink`: posts the events of a run to a web address, without ever making the training wait."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict
from queue import Full, Queue
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from lightning_clip._checks import check_instance, check_positive_finite, check_rule
from lightning_clip._errors import reason_of
from lightning_clip.core.record.parameter_totals import ParameterTotals
from lightning_clip.core.record.run_info import Event, RunInfo
from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.sinks.alerts import AlertSink
from lightning_clip.sinks.strict_json import encoded

_WAITING = 100


class WebhookSink:
    """Post each event of a run as JSON to a web address: a chat, a pager, a service of your own.

    The body is `{"text": …, "run": {"id", "model", "strategy"}, "step": …, "kind": …, "message": …, "data": {…}}`, with
    NaN and infinity as strings. `text` is one line for people, which Slack and Mattermost show as it is. Which events
    there are, and when, is the same as for `AlertSink`.

    A thread of its own sends, one event at a time. Training never waits for it: of more than 100 waiting events, the
    latest are dropped. At the end of the run it gets at most `close_seconds` to finish. Events that could not be
    delivered are told in one warning; nothing else happens to the run.

    Args:
        url: The address, `http://…` or `https://…`. Warnings show its host only, because such addresses hold secrets.
        kinds: The kinds of events to post; all by default.
        skip_streak: The number of skipped steps in a row that is worth an alert.
        spike_factor: A spike is a norm of at least so many times the median of the latest 100 norms.
        quiet_steps: The number of optimizer steps after a spike in which no further spike is reported.
        timeout: The number of seconds after which one attempt fails.
        close_seconds: The longest time that the end of a run waits for events on their way, in seconds.

    Raises:
        ArgumentError: An argument is out of range, or `url` is no web address.

    Example:
        >>> sink = WebhookSink("https://hooks.example.com/services/secret", kinds=["rollback", "stop"])
        >>> sink
        WebhookSink('https://hooks.example.com/…')
    """

    def __init__(
        self,
        url: str,
        *,
        kinds: Sequence[str] | None = None,
        skip_streak: int = 5,
        spike_factor: float = 10.0,
        quiet_steps: int = 100,
        timeout: float = 5.0,
        close_seconds: float = 2.0,
    ) -> None:
        call = type(self).__name__
        check_instance(call, str, url=url)
        rule = "url must be a web address such as 'https://hooks.example.com/alerts'"
        check_rule(f"{call}({url!r})", rule, holds=_is_web_address(url))
        check_positive_finite(call, timeout=timeout, close_seconds=close_seconds)
        self.url = url
        self.timeout = timeout
        self.close_seconds = close_seconds
        self._alerts = AlertSink(
            self._post, kinds=kinds, skip_streak=skip_streak, spike_factor=spike_factor, quiet_steps=quiet_steps
        )
        self._run = RunInfo()
        self._sender: _Sender | None = None
        self._has_warned = False

    def __repr__(self) -> str:
        parts = urlsplit(self.url)
        return f"{type(self).__name__}('{parts.scheme}://{parts.hostname}/…')"

    def open(self, run: RunInfo) -> None:
        """Start the thread that sends.

        Args:
            run: The description of the run.
        """
        self._run, self._has_warned = run, False
        self._alerts.open(run)
        self._sender = _Sender(self.url, self.timeout)
        self._sender.start()

    def write(self, records: Sequence[StepRecord]) -> None:
        """Look for events in further steps, and post them.

        Args:
            records: The records, in order.
        """
        self._alerts.write(records)
        self._warn_once()

    def event(self, event: Event) -> None:
        """Post an event that a callback has recorded.

        Args:
            event: The event.
        """
        self._alerts.event(event)

    def close(self, run: RunInfo, parameters: ParameterTotals) -> None:
        """Wait at most `close_seconds` for events on their way.

        Args:
            run: Not used.
            parameters: Not used.
        """
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.finish(self.close_seconds)
            self._warn_once(sender)

    def _post(self, event: Event) -> None:
        if self._sender is None:
            raise ValueError(f"{self!r} is not open: call open(run) first.")
        run = self._run
        where = f"{run.model or 'run'}, step {event.step:,}"
        body = {
            "text": f"{where}: {event.kind}: {event.message}",
            "run": {"id": run.id, "model": run.model, "strategy": run.strategy},
            **asdict(event),
        }
        self._sender.put(encoded(body).encode())

    def _warn_once(self, sender: "_Sender | None" = None) -> None:
        sender = sender or self._sender
        if sender is None or self._has_warned or sender.failure is None:
            return
        self._has_warned = True
        warnings.warn(
            f"{self!r} could not deliver every event, and the training goes on: {sender.failure}", stacklevel=2
        )

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the thread, which cannot be pickled or copied."""
        return {**self.__dict__, "_sender": None}


class _Sender(Thread):
    """Posts what is put into its queue until it is finished."""

    def __init__(self, url: str, timeout: float) -> None:
        super().__init__(name="lightning-clip-webhook", daemon=True)  # a daemon never keeps a process alive
        self.failure: str | None = None
        self._url, self._timeout = url, timeout
        self._queue: Queue[bytes | None] = Queue(maxsize=_WAITING)

    def put(self, body: bytes) -> None:
        try:
            self._queue.put_nowait(body)
        except Full:
            self.failure = self.failure or f"{_WAITING} events are waiting"

    def finish(self, seconds: float) -> None:
        """Wait for what is in the queue, but no longer than so many seconds."""
        try:
            self._queue.put_nowait(None)
        except Full:
            self.failure = self.failure or f"{_WAITING} events are waiting"
        self.join(seconds)
        if self.is_alive():
            self.failure = self.failure or f"no answer within {seconds:g} s"

    def run(self) -> None:
        from urllib.request import Request, urlopen  # takes 30 ms to import, which only those pay who use it

        while (body := self._queue.get()) is not None:
            request = Request(self._url, data=body, headers={"Content-Type": "application/json"}, method="POST")
            try:
                with urlopen(request, timeout=self._timeout) as answer:
                    answer.read(1)
            except Exception as error:
                self.failure = self.failure or reason_of(error)


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
