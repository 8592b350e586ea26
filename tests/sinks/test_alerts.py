"""`AlertSink` and `StepAlerts`: which events reach a function."""

import math
import re
from pathlib import Path

import pytest

import lightning_clip.callbacks
from lightning_clip import AlertSink
from lightning_clip.core import Event, RunInfo
from lightning_clip.sinks.alerts import ALERT_KINDS
from tests.support.recorded import record

QUIET = [1.0, 1.1, 0.9] * 10


def alerts(norms, *, skipped=(), events=(), **options):
    told = []
    sink = AlertSink(lambda event: told.append((event.kind, event.step)), **options)
    sink.open(RunInfo())
    for event in events:
        sink.event(event)
    sink.write([record(step, norm, skipped=step in skipped) for step, norm in enumerate(norms)])
    return told


def test_a_spike_is_told_once_and_then_left_alone_for_a_while():
    """Further spikes are silent for `quiet_steps` steps, and a run that is only noisy has none."""
    norms = [*QUIET, 12.0, 1.0, 13.0, *QUIET, 14.0]
    assert alerts(norms, quiet_steps=20) == [("spike", 30), ("spike", 63)]
    assert alerts(norms, quiet_steps=20, spike_factor=15.0) == []


def test_the_first_steps_are_no_spikes():
    """Before 20 norms are known, a large norm may be ordinary."""
    assert alerts([1.0] * 19 + [50.0]) == []
    assert alerts([1.0] * 20 + [50.0]) == [("spike", 20)]


def test_the_median_follows_the_latest_hundred_norms():
    """A level that has been left long ago does not count."""
    assert alerts([1.0] * 100 + [8.0] * 100 + [20.0], quiet_steps=0) == []


def test_a_streak_of_skipped_steps_is_told_once():
    """The streak is told when it is long enough, and a second one again."""
    assert alerts(QUIET, skipped={3, 4, 5, 6, 9, 10, 11, 20}, skip_streak=3) == [
        ("skip-streak", 5),
        ("skip-streak", 11),
    ]


def test_a_norm_that_is_not_finite_is_told_once_a_streak_unless_a_guard_has():
    """What the guard has told is not told a second time."""
    norms = [1.0, math.nan, math.inf, 1.0, math.nan]
    assert alerts(norms) == [("non-finite", 1), ("non-finite", 4)]
    told = alerts(norms, events=[Event(1, "non-finite", "the guard")])
    assert told == [("non-finite", 1), ("non-finite", 4)]


def test_only_the_chosen_kinds_are_told():
    """`kinds` selects, and without it an event of a kind of one's own is passed on too."""
    events = [Event(2, "switch", "up"), Event(3, "mine", "something else")]
    assert alerts([math.nan], events=events, kinds=["switch"]) == [("switch", 2)]
    assert alerts([], events=events) == [("switch", 2), ("mine", 3)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"send": "print"}, r"AlertSink\('print'\): send must be a function"),
        ({"kinds": ["switc"]}, "did you mean 'switch'"),
        ({"kinds": "switch"}, "kinds must be a list"),
        ({"skip_streak": 0}, "skip_streak must be at least 1"),
        ({"spike_factor": 0.0}, "spike_factor must be a positive number"),
        ({"quiet_steps": -1}, "quiet_steps must be at least 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The call is quoted, and the rule stated."""
    with pytest.raises(ValueError, match=message):
        AlertSink(**{"send": print, **arguments})


def test_every_event_that_a_callback_records_can_be_an_alert():
    """Each kind of event in the source of the callbacks is passed on by default."""
    room = Path(lightning_clip.callbacks.__file__).parent
    sources = "".join(path.read_text(encoding="utf-8") for path in room.rglob("*.py"))
    recorded = set(re.findall(r'\bEvent\([^"]*?"([a-z-]+)"', sources))
    assert {"switch", "captured", "left-out"} <= recorded
    assert recorded <= set(ALERT_KINDS)
