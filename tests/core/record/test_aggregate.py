import math

import numpy as np
import pytest

from lightning_clip.core import StepRecord
from lightning_clip.core.record.aggregate import Aggregate
from lightning_clip.core.record.step_record import ParamNorms


def records(norms: list[float], *, skipped: tuple[int, ...] = (), limit: float = 1.0) -> list[StepRecord]:
    result = []
    for step, norm in enumerate(norms):
        finite = math.isfinite(norm)
        coef = min(1.0, limit / norm) if finite and norm else 1.0
        params = ParamNorms(("w", "b"), np.array([1.0, norm]), np.array([False, coef < 1.0]))
        skip = step in skipped
        clipped = coef < 1.0 and not skip
        after = 0.0 if skip else norm * coef
        result.append(
            StepRecord(step, 0, "A()", norm, after, limit, coef, clipped, finite, skip, loss=None, params=params)
        )
    return result


def aggregate(*batches: list[StepRecord]) -> Aggregate:
    total = Aggregate()
    for batch in batches:
        total.add(batch)
    return total


def test_counts_extremes_and_mean_are_exact():
    """Counts, extremes and mean equal those of numpy."""
    norms = np.random.default_rng(0).lognormal(size=1000)
    total = aggregate(records(norms.tolist()))
    assert (total.steps, total.clipped) == (1000, int((norms > 1).sum()))
    assert (total.min, total.max) == (norms.min(), norms.max())
    assert total.mean == pytest.approx(norms.mean())
    assert total.clipped_fraction == (norms > 1).mean()
    assert total.coef_sum == pytest.approx((1 / norms[norms > 1]).sum())


@pytest.mark.parametrize("cut", [0, 1, 499, 1000])
def test_batching_changes_nothing(cut):
    """Two batches give the same totals as one, bit for bit."""
    run = records(np.random.default_rng(0).lognormal(size=1000).tolist())
    whole, parts = aggregate(run), aggregate(run[:cut], run[cut:])
    assert parts.state_dict().keys() == whole.state_dict().keys()
    assert (parts.mean, parts.coef_sum, parts.min, parts.max) == (whole.mean, whole.coef_sum, whole.min, whole.max)
    assert parts.quantiles(0.1, 0.5) == whole.quantiles(0.1, 0.5)
    assert np.array_equal(parts.before.values(), whole.before.values())


def test_quantiles_are_those_of_numpy_within_their_accuracy():
    """Quantiles are within 0.14% of the nearest-rank quantiles of numpy, and never beyond the extremes."""
    norms = np.random.default_rng(0).lognormal(sigma=2.0, size=5000)
    total = aggregate(records(norms.tolist()))
    fractions = [0.01, 0.25, 0.5, 0.9, 0.99, 0.999]
    exact = np.quantile(norms, fractions, method="lower")
    assert total.quantiles(*fractions) == pytest.approx(exact.tolist(), rel=0.0014)
    assert total.quantiles(0.0, 1.0) == pytest.approx([norms.min(), norms.max()], rel=0.0014)
    assert norms.min() <= total.quantiles(0.0)[0]
    assert total.quantiles(1.0)[0] <= norms.max()


def test_non_finite_norms_are_only_counted():
    """Mean, extremes and fractions cover the finite steps only."""
    total = aggregate(records([2.0, math.nan, 4.0, math.inf]))
    assert (total.steps, total.nonfinite, total.clipped) == (4, 2, 2)
    assert (total.mean, total.min, total.max) == (3.0, 2.0, 4.0)
    assert total.clipped_fraction == 1.0
    assert total.quantiles(1.0) == pytest.approx([4.0], rel=0.0014)


def test_a_step_without_a_gradient_is_no_sample():
    """A norm of zero is counted apart: mean, extremes, quantiles and fractions are those of the other steps."""
    with_zeros, without = aggregate(records([0.0, 0.5, 0.0, 4.0, 0.0])), aggregate(records([0.5, 4.0]))
    assert (with_zeros.empty, with_zeros.steps, with_zeros.clipped) == (3, 2, 1)
    for name in ("mean", "min", "max", "clipped_fraction", "coef_sum", "last_finite_norm"):
        assert getattr(with_zeros, name) == getattr(without, name)
    assert with_zeros.quantiles(0.0, 0.5, 1.0) == without.quantiles(0.0, 0.5, 1.0)
    assert with_zeros.before.values().tolist() == [0.0, 0.5, 0.0, 4.0, 0.0]


def test_a_run_without_any_gradient_has_no_numbers():
    """There is no extreme, mean or quantile, and no step."""
    total = aggregate(records([0.0, 0.0], skipped=(1,)))
    assert (total.steps, total.empty, total.skipped, total.clipped_fraction) == (0, 2, 0, 0.0)
    assert all(math.isnan(value) for value in (total.min, total.max, total.mean, *total.quantiles(0.5)))


def test_the_last_good_norm_is_that_of_a_step_with_a_gradient():
    """A step without a gradient before the first NaN does not hide the norm before it."""
    assert aggregate(records([3.0, 0.0, math.nan])).last_finite_norm == 3.0


def test_a_state_of_the_first_version_has_no_empty_steps():
    """It did not count them apart."""
    total, state = Aggregate(), aggregate(records([1.0, 2.0])).state_dict()
    del state["empty"]
    total.load_state_dict(state)
    assert (total.steps, total.empty) == (2, 0)


@pytest.mark.parametrize("batches", [[4], [1, 3], [2, 2], [3, 1], [1, 1, 1, 1]])
def test_the_first_non_finite_norm_is_remembered(batches):
    """Its step, its bad parameters and the last good norm are kept, however the steps are batched."""
    run = records([2.0, 3.0, math.nan, 5.0, math.inf, 6.0])
    total, start = Aggregate(), 0
    for size in [*batches, 2]:
        total.add(run[start : start + size])
        start += size
    assert total.first_nonfinite == 2
    assert total.first_bad_names == ["b"]
    assert total.last_finite_norm == 3.0


def test_a_run_that_starts_with_a_non_finite_norm_has_no_good_norm():
    """Later finite norms do not count as the last good norm before it."""
    total = aggregate(records([math.inf, 1.0]), records([2.0]))
    assert (total.first_nonfinite, total.last_finite_norm) == (0, None)


def test_without_a_bad_norm_the_last_good_one_is_the_last():
    """There is no first bad step, and the last finite norm is the latest one."""
    total = aggregate(records([1.0, 2.0]), records([3.0]))
    assert (total.first_nonfinite, total.first_bad_names, total.last_finite_norm) == (None, [], 3.0)


def test_skips_are_counted():
    """A skipped step does not count as clipped."""
    total = aggregate(records([5.0, 5.0, 5.0], skipped=(1,)))
    assert (total.skipped, total.clipped) == (1, 2)


def test_steps_are_counted_by_strategy():
    """The count by strategy works for a run in which the strategy changes."""
    run = records([1.0] * 5)
    for record in run[3:]:
        record.strategy = "B()"
    assert aggregate(run[:2], run[2:]).strategies == {"A()": 3, "B()": 2}


def test_the_trajectory_has_the_largest_norm_of_each_interval():
    """There is one trajectory before and one after clipping."""
    total = aggregate(records([0.5, 7.0, 2.0]))
    assert total.before.values().tolist() == [0.5, 7.0, 2.0]
    assert total.after.values().tolist() == [0.5, 1.0, 1.0]


def test_before_the_first_step_statistics_are_nan():
    """Mean, extremes and quantiles are NaN, and the trajectory is empty."""
    total = aggregate([])
    assert math.isnan(total.mean)
    assert math.isnan(total.min)
    assert np.isnan(total.quantiles(0.5)).all()
    assert total.clipped_fraction == 0.0
    assert len(total.before.values()) == 0
