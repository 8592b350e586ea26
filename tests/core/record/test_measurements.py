"""Measurements in bounded memory."""

import pytest

from lightning_clip.core import Measurement, Measurements


def test_the_first_and_the_latest_of_each_kind_are_kept():
    """A frequent kind replaces neither a rare kind nor its own first measurement."""
    measurements = Measurements(latest=3)
    measurements.add(Measurement(0, "rare", {"value": 1.0}))
    for step in range(1000):
        measurements.add(Measurement(step, "frequent"))
    assert measurements.kinds == ["rare", "frequent"]
    assert [one.step for one in measurements.of("frequent")] == [0, 997, 998, 999]
    assert measurements.of("rare") == [Measurement(0, "rare", {"value": 1.0})]
    assert len(measurements) == len(list(measurements)) == 5


def test_a_kind_that_was_never_measured_is_empty():
    """A kind without measurements gives an empty list."""
    assert Measurements().of("flow") == []


def test_restored_measurements_continue_without_a_difference():
    """Loading replaces earlier measurements, and the limit still holds afterwards."""
    whole, first, second = (Measurements(latest=3) for _ in range(3))
    second.add(Measurement(5, "stale"))
    for step in range(9):
        whole.add(Measurement(step, "flow", {"norms": [float(step)]}))
        first.add(Measurement(step, "flow", {"norms": [float(step)]}))
    second.load_state_list(first.state_list())
    for one in (whole, second):
        one.add(Measurement(9, "flow"))
    assert list(second) == list(whole)


def test_a_measurement_is_immutable():
    """Setting a field of a measurement raises an error."""
    with pytest.raises(AttributeError, match="step"):
        Measurement(0, "flow").step = 1
