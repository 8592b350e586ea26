"""`WindowRows`: windows of a series and their targets."""

import numpy as np
import pytest
import torch

from lightning_clip.datamodules.window_rows import WindowRows


def rows(n=20, *, missing=(), **options):
    inputs, targets = np.arange(n, dtype=float)[:, None], np.arange(n, dtype=float)[:, None] * 10
    targets[list(missing)] = np.nan
    defaults = {"window": 4, "horizon": 1, "stride": 1, "last_step_only": False, "with_mask": False}
    return WindowRows(inputs, targets, **{**defaults, **options})


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("stride", [1, 4])
def test_each_step_has_the_target_that_many_steps_ahead(horizon, stride):
    """Every window that fits, `stride` apart, has the targets `horizon` steps ahead."""
    made = rows(horizon=horizon, stride=stride)
    assert len(made) == len(range(0, 20 - 4 - horizon + 1, stride))
    for row in range(len(made)):
        inputs, targets = made[row]
        begin = row * stride
        assert inputs[:, 0].tolist() == list(range(begin, begin + 4))
        assert targets[:, 0].tolist() == [10 * (step + horizon) for step in range(begin, begin + 4)]


def test_a_batch_is_its_rows():
    """A batch, fetched with one indexing operation, equals its single rows."""
    made = rows()
    batch = made.__getitems__([3, 0, 7])
    for number, row in enumerate([3, 0, 7]):
        assert all(torch.equal(part[number], alone) for part, alone in zip(batch, made[row], strict=True))


def test_one_target_after_the_last_step():
    """With `last_step_only`, windows whose target is missing are dropped."""
    made = rows(last_step_only=True, missing=[6, 19])
    targets = made.__getitems__(range(len(made)))[1]
    assert targets.shape == (14, 1)
    assert targets[:, 0].tolist() == [10 * step for step in range(4, 19) if step != 6]


def test_missing_targets_are_masked():
    """Missing targets are 0 and masked, so nothing is NaN."""
    _, targets, mask = rows(missing=[5], with_mask=True)[2]
    assert mask.tolist() == [True, True, False, True]
    assert targets[:, 0].tolist() == [30, 40, 0, 60]


def test_too_short_a_series_has_no_window():
    """A series that is too short has no window, and raises no error."""
    assert len(rows(4)) == 0
    assert len(rows(5)) == 1
