"""`SpikeDetector` and `Ladder` on recorded kinds of trouble."""

import copy
import math

import pytest

from lightning_clip.core.switching import Ladder, SpikeDetector
from tests.support.switching_sequences import norms

# How often the published prototype with hysteresis changes rungs on the same sequences.
PROTOTYPE = {
    "quiet": 0,
    "one spike": 2,
    "cluster": 6,
    "shift": 6,
    "slow drift": 0,
    "nan burst": 4,
    "spike every 100": 1,
    "heavy tail": 8,
}


def moves(kind: str, ladder: Ladder | None = None, detector: SpikeDetector | None = None) -> list[tuple[int, int]]:
    ladder, detector = ladder or Ladder(), detector or SpikeDetector()
    found = []
    for step, norm in enumerate(norms(kind)):
        move = ladder.step(detector.read(float(norm)).weight, top=3)
        if move:
            found.append((step, move.end))
    return found


@pytest.mark.parametrize(("kind", "limit"), PROTOTYPE.items())
def test_it_moves_no_more_often_than_the_prototype(kind, limit):
    """Hysteresis keeps the number of switches low, and the ladder reacts at the step where trouble starts."""
    found = moves(kind)
    assert len(found) <= limit
    if kind in ("one spike", "cluster", "shift", "nan burst"):
        assert found[0] == (1000, 1)


def test_without_hysteresis_it_would_flap():
    """A spike every 100 steps shows the difference."""
    flapping = Ladder(dwell=1, calm=20, max_calm=20)
    assert len(moves("spike every 100", flapping)) > 30


def test_an_explosion_in_the_first_steps_is_seen_before_it_ends():
    """Norms that grow from step to step count as severe long before they overflow."""
    ladder, detector = Ladder(), SpikeDetector()
    growing = [430, 481, 1480, 2240, 5570, 17200, 1.9e5, 5e8]
    climbed = [ladder.step(detector.read(norm).weight, top=1) is not None for norm in growing]
    assert climbed.index(True) <= 5


def test_a_level_shift_becomes_normal_within_half_a_window():
    """After a genuine ×8 shift, the detector calms down by itself."""
    detector = SpikeDetector()
    weights = [detector.read(float(norm)).weight for norm in norms("shift")]
    assert all(weight > 0 for weight in weights[1000:1010])
    assert sum(weights[1000 + detector.window // 2 + 5 : 2000]) == 0


def test_a_rung_that_is_no_longer_allowed_is_left():
    """When the cap falls below the current rung, the ladder descends to it."""
    ladder = Ladder(dwell=1)
    for _ in range(8):
        ladder.step(5.0, top=3)
    assert ladder.rung == 3
    assert ladder.step(0.0, top=1).reason == "the rung is no longer allowed"


def test_a_restored_ladder_and_detector_go_on_the_same():
    """The state is saved in the middle of trouble, as plain numbers and lists."""
    ladder, detector = Ladder(), SpikeDetector()
    sequence = norms("heavy tail")
    for norm in sequence[:1500]:
        ladder.step(detector.read(float(norm)).weight, top=3)
    other, reader = Ladder(), SpikeDetector()
    other.load_state_dict(copy.deepcopy(ladder.state_dict()))
    reader.load_state_dict(copy.deepcopy(detector.state_dict()))
    for norm in sequence[1500:]:
        a = ladder.step(detector.read(float(norm)).weight, top=3)
        b = other.step(reader.read(float(norm)).weight, top=3)
        assert a == b


def test_the_reading_of_a_non_finite_norm():
    """It has its own weight and is not remembered."""
    detector = SpikeDetector()
    before = detector.state_dict()
    reading = detector.read(math.nan)
    assert (reading.weight, detector.state_dict()) == (5.0, before)


@pytest.mark.parametrize("zero", [0.0, -3.0])
def test_a_norm_of_zero_is_calm_and_not_remembered(zero):
    """A step without a gradient, or a loss that has no logarithm, does not make the next usual number a spike."""
    detector = SpikeDetector()
    for norm in (1.0, 1.1, 0.9):
        detector.read(norm)
    before = detector.state_dict()
    assert [detector.read(zero).weight for _ in range(100)] == [0.0] * 100
    assert detector.state_dict() == before
    assert (detector.read(1.2).weight, detector.read(30.0).weight) == (0.0, 3.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpikeDetector(0), r"SpikeDetector\(window=0\).*at least 1"),
        (lambda: SpikeDetector(mild=8.0, severe=4.0), r"severe must be above mild"),
        (lambda: Ladder(leak=1.0), r"Ladder\(leak=1.0\).*below 1"),
        (lambda: Ladder(climb_at=()), r"Ladder\(climb_at=\[\]\): climb_at needs at least 1"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    """The error is one line that quotes the call."""
    with pytest.raises(ValueError, match=message):
        make()
