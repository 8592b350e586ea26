import numpy as np
import pytest

from lightning_clip import SkipAbove
from tests.strategies.test_skip_spikes import run, skips
from tests.support.norm_sequences import usual


def test_a_norm_above_the_limit_is_skipped_from_the_first_step_on():
    """A norm that equals the limit is kept; by default, nothing is ever skipped."""
    norms = np.array([1e6, 1.0, 3.0, 3.1, 1e6])
    assert skips(run(SkipAbove(3.0), norms)) == [0, 3, 4]
    assert skips(run(SkipAbove(), norms)) == []


def test_a_sustained_explosion_reaches_no_weight():
    """Every step of it is skipped, however long it lasts."""
    records = run(SkipAbove(10.0), np.append(np.ones(50), np.full(250, 1e12)))
    assert skips(records) == list(range(50, 300))


def test_at_most_the_fraction_is_skipped_and_the_rest_is_clipped():
    """After every step, no more than a tenth of the steps has been skipped."""
    norms = usual(400)
    norms[::3] = 100.0
    records = run(SkipAbove(5.0, max_fraction=0.1), norms)
    assert len(skips(records)) == 40
    assert all(number <= 0.1 * (step + 1) for number, step in enumerate(skips(records), start=1))
    assert all(record.norm_after == pytest.approx(5.0) for record in records[::3] if not record.skipped)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_norm_that_is_not_finite_is_neither_skipped_nor_counted(bad):
    """A guard decides about those."""
    records = run(SkipAbove(1.0, max_fraction=0.5), np.array([bad, 2.0, 2.0]))
    assert skips(records) == [2]


def test_bad_arguments():
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=r"SkipAbove\(max_norm=0\): max_norm must be a positive number"):
        SkipAbove(0)
    with pytest.raises(ValueError, match=r"SkipAbove\(max_fraction=0.0\): max_fraction must be a positive number"):
        SkipAbove(max_fraction=0.0)
    with pytest.raises(
        ValueError, match=r"SkipAbove\(max_fraction=1.5\): max_fraction must be a number between 0 and 1"
    ):
        SkipAbove(max_fraction=1.5)
