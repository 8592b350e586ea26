import io
import math

import numpy as np
import pytest
import torch

from lightning_clip.core.record.trajectory import Trajectory


def peaks(values: np.ndarray, stretches: int) -> tuple[int, list[float]]:
    """Compute stride and maxima the slow, obvious way: the smallest power of two that fits, then each maximum."""
    stride = 1
    while math.ceil(len(values) / stride) > stretches:
        stride *= 2
    return stride, [float(max(values[i : i + stride])) for i in range(0, len(values), stride)]


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 16, 17, 100, 1000])
@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_each_interval_keeps_its_largest_value(n, batch):
    """The result does not depend on how the values are batched."""
    values = np.random.default_rng(n).lognormal(size=n)
    trajectory = Trajectory(stretches=8)
    for start in range(0, n, batch):
        trajectory.add(values[start : start + batch])
    stride, expected = peaks(values, 8)
    assert trajectory.stride == stride
    assert trajectory.values().tolist() == expected
    assert trajectory.steps == n


def test_memory_is_bounded():
    """The number of intervals is bounded, however long the run."""
    trajectory = Trajectory(stretches=16)
    for _ in range(100):
        trajectory.add(np.ones(1000))
    assert len(trajectory.values()) <= 16


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_non_finite_norm_shows_as_infinite(bad):
    """An interval that contains NaN or infinity has the value infinity, even after merging."""
    trajectory = Trajectory(stretches=4)
    trajectory.add([1.0, bad, 2.0, 3.0, 4.0, 5.0])
    assert trajectory.values().tolist() == [math.inf, 3.0, 5.0]


def test_a_restored_trajectory_continues():
    """A trajectory loaded with `weights_only=True` continues as if it had not stopped."""
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
