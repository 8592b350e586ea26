import io
import math

import numpy as np
import pytest
import torch

from lightning_clip.core.record.trajectory import Trajectory


def peaks(values: np.ndarray, stretches: int) -> tuple[int, list[float]]:
    """The slow, obvious way: the smallest power of two that fits, then the largest of each stretch."""
    stride = 1
    while math.ceil(len(values) / stride) > stretches:
        stride *= 2
    return stride, [float(max(values[i : i + stride])) for i in range(0, len(values), stride)]


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 16, 17, 100, 1000])
@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_each_stretch_keeps_its_largest_value(n, batch):
    """However the values arrive, the result is that of all at once."""
    values = np.random.default_rng(n).lognormal(size=n)
    course = Trajectory(stretches=8)
    for start in range(0, n, batch):
        course.add(values[start : start + batch])
    stride, expected = peaks(values, 8)
    assert course.stride == stride
    assert course.values().tolist() == expected
    assert course.steps == n


def test_memory_is_bounded():
    """A long run has as many stretches as a short one."""
    course = Trajectory(stretches=16)
    for _ in range(100):
        course.add(np.ones(1000))
    assert len(course.values()) <= 16


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_shows_as_infinite(bad):
    """It cannot hide in a merged stretch."""
    course = Trajectory(stretches=4)
    course.add([1.0, bad, 2.0, 3.0, 4.0, 5.0])
    assert course.values().tolist() == [math.inf, 3.0, 5.0]


def test_a_restored_course_goes_on():
    """Read with `weights_only=True`, and continued as if it had not stopped."""
    values = np.random.default_rng(0).lognormal(size=100)
    whole, first, second = Trajectory(8), Trajectory(8), Trajectory(8)
    whole.add(values)
    first.add(values[:37])
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    second.add(values[37:])
    assert np.array_equal(second.values(), whole.values())
    assert len(first.values()) == math.ceil(37 / first.stride)
