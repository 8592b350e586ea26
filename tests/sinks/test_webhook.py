"""`WebhookSink`, against a server on the loopback interface."""

import json
import math
import pickle
import time
from collections.abc import Iterator
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event as Flag
from threading import Thread

import pytest

from lightning_clip import GradientClipping, NonFiniteGuard, WebhookSink
from lightning_clip.core import Event, RunInfo
from lightning_clip.core.record.parameter_totals import ParameterTotals
from tests.support.recorded import record
from tests.support.training import Net, loader, quiet_trainer


class Server(ThreadingHTTPServer):
    """Keeps what it is sent, and answers with `status` once `may_answer` is set."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[dict] = []
        self.headers: list[dict] = []
        self.status = 200
        self.may_answer = Flag()
        self.may_answer.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/secret"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.may_answer.wait(10)
        self.server.headers.append(dict(self.headers))
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    one = Server()
    Thread(target=one.serve_forever, args=(0.01,), daemon=True).start()
    yield one
    one.may_answer.set()
    one.shutdown()
    one.server_close()


def send(sink: WebhookSink, *events: Event, records=()) -> float:
    """Send events in a run of its own; return the seconds that everything took."""
    start = time.monotonic()
    sink.open(RunInfo(model="Net", strategy="NormClip(1.0)", id="7"))
    for event in events:
        sink.event(event)
    sink.write(list(records))
    sink.close(RunInfo(), ParameterTotals())
    return time.monotonic() - start


def test_an_event_arrives_as_json(server: Server):
    """Run, step, kind, message and data are in the body, and a line for people; NaN is a string."""
    send(WebhookSink(server.url), Event(1200, "switch", "up", {"norm": math.nan, "to": "NormClip(1.0)"}))
    assert server.bodies == [
        {
            "text": "Net, step 1,200: switch: up",
            "run": {"id": "7", "model": "Net", "strategy": "NormClip(1.0)"},
            "step": 1200,
            "kind": "switch",
            "message": "up",
            "data": {"norm": "nan", "to": "NormClip(1.0)"},
        }
    ]
    assert server.headers[0]["Content-Type"] == "application/json"


def test_what_is_found_in_steps_is_posted_too(server: Server):
    """Spikes are found as in `AlertSink`, and `kinds` selects."""
    records = [record(step, 1.0 if step != 30 else 99.0) for step in range(40)]
    send(WebhookSink(server.url, kinds=["spike"]), Event(0, "switch", "up"), records=records)
    assert [(body["kind"], body["step"]) for body in server.bodies] == [("spike", 30)]


def test_a_server_that_fails_is_one_warning_without_the_secret(server: Server):
    """Three events fail and one warning says so; the address is shown without its path."""
    server.status = 500
    sink = WebhookSink(server.url)
    with pytest.warns(UserWarning, match="could not deliver every event.*HTTP Error 500") as caught:
        send(sink, *(Event(step, "switch", "up") for step in range(3)))
    assert len(caught) == 1
    assert "secret" not in str(caught[0].message) + repr(sink)
    assert len(server.bodies) == 3


def test_a_server_that_never_answers_holds_up_the_run_only_as_long_as_was_said(server: Server):
    """Sending costs nothing, closing at most `close_seconds`, and what is lost is told."""
    server.may_answer.clear()
    sink = WebhookSink(server.url, timeout=30, close_seconds=0.1)
    with pytest.warns(UserWarning, match=r"(100 events are waiting|no answer within 0\.1 s)"):
        seconds = send(sink, *(Event(step, "switch", "up") for step in range(200)))
    assert seconds < 2


def test_nobody_listening_is_one_warning(server: Server):
    """A refused connection does not raise."""
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.warns(UserWarning, match="could not deliver"):
        send(WebhookSink(url), Event(0, "switch", "up"))


def test_an_open_sink_can_be_copied_and_pickled(server: Server):
    """A copy has no thread, and opens one of its own."""
    sink = WebhookSink(server.url)
    sink.open(RunInfo())
    for copy in (deepcopy(sink), pickle.loads(pickle.dumps(WebhookSink(server.url)))):
        send(copy, Event(0, "switch", "up"))
    sink.close(RunInfo(), ParameterTotals())
    assert len(server.bodies) == 2


def test_a_guard_that_ends_a_training_is_told_before_the_run_is_over(server: Server):
    """The stop of a guard arrives, and nothing else happens to the run."""

    class Poisoned(Net):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) * (math.nan if batch_idx == 2 else 1.0)

    callbacks = [GradientClipping(sinks=[WebhookSink(server.url)]), NonFiniteGuard("stop")]
    quiet_trainer(callbacks=callbacks).fit(Poisoned(), loader())
    assert [(body["kind"], body["step"]) for body in server.bodies] == [("non-finite", 2), ("stop", 2)]


@pytest.mark.parametrize(
    "url", ["", "hooks.example.com/x", "ftp://example.com", "http://", "http://h:x/", "http://h:0"]
)
def test_what_is_no_web_address_is_refused(url):
    """At construction, with an example of an address."""
    with pytest.raises(ValueError, match=r"url must be a web address such as 'https://"):
        WebhookSink(url)
