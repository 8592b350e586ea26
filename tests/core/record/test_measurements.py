"""What is measured now and then, in bounded memory."""

import pytest

from lightning_clip.core import Measurement, Measurements


def test_the_first_and_the_latest_of_each_kind_are_kept():
    """A frequent kind does not push out a rare one, nor its own first."""
    measurements = Measurements(latest=3)
    measurements.add(Measurement(0, "rare", {"value": 1.0}))
    for step in range(1000):
        measurements.add(Measurement(step, "frequent"))
    assert measurements.kinds == ["rare", "frequent"]
    assert [one.step for one in measurements.of("frequent")] == [0, 997, 998, 999]
    assert measurements.of("rare") == [Measurement(0, "rare", {"value": 1.0})]
    assert len(measurements) == len(list(measurements)) == 5


def test_a_kind_that_was_never_measured_is_empty():
    """Not an error."""
    assert Measurements().of("flow") == []


def test_a_restored_record_goes_on_as_if_nothing_had_happened():
    """What was kept before is replaced, and the limit holds on."""
    whole, first, second = (Measurements(latest=3) for _ in range(3))
    second.add(Measurement(5, "stale"))
    for step in range(9):
        whole.add(Measurement(step, "flow", {"norms": [float(step)]}))
        first.add(Measurement(step, "flow", {"norms": [float(step)]}))
    second.load_state_list(first.state_list())
    for one in (whole, second):
        one.add(Measurement(9, "flow"))
    assert list(second) == list(whole)


def test_a_measurement_does_not_change():
    """It is a fact."""
    with pytest.raises(AttributeError, match="step"):
        Measurement(0, "flow").step = 1
