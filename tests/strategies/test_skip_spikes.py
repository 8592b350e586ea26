import numpy as np
import pytest
import torch
from torch import nn

from lightning_clip import Gradients, SkipSpikes, clip_
from lightning_clip.core import StepBuffer, StepRecord
from tests.references.composites import skipped_spikes
from tests.support.norm_sequences import usual


def run(strategy: SkipSpikes, norms: np.ndarray, dtype: torch.dtype = torch.float64) -> list[StepRecord]:
    buffer = StepBuffer()
    for step, norm in enumerate(norms):
        param = nn.Parameter(torch.zeros(4, dtype=dtype))
        param.grad = torch.full((4,), float(norm) / 2, dtype=dtype)
        buffer.add(clip_(Gradients(["w"], [param], step=step), strategy))
        assert (param.grad is None) == bool(buffer.pending[-1].skipped)
    return buffer.flush()


def skips(records: list[StepRecord]) -> list[int]:
    return [record.step for record in records if record.skipped]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    "arguments", [{}, {"k": 2.0, "window": 20, "max_consecutive": 2, "max_fraction": 0.05}], ids=["defaults", "narrow"]
)
def test_it_does_what_the_reference_does(arguments, dtype):
    """Skips, factors and limits match on heavy tails with spikes, zeros, NaN and a level shift."""
    norms = usual(600) * (1 + np.random.default_rng(1).pareto(3.0, 600))
    norms[[100, 101, 350]] *= 1000.0
    norms[[50, 200]] = 0.0
    norms[[70, 220]] = np.nan
    norms[400:] *= 8.0
    for record, (skip, factor, limit) in zip(
        run(SkipSpikes(**arguments), norms, dtype), skipped_spikes(norms, **arguments), strict=True
    ):
        assert record.skipped == skip, record
        assert record.threshold == pytest.approx(limit, rel=1e-5)
        if not skip and record.finite:
            assert record.clip_coef == pytest.approx(factor, rel=1e-5)


def test_a_spike_is_skipped_and_nothing_else():
    """Parameters have no gradient at that step, and the steps around it are made."""
    norms = usual(200)
    norms[150] = 1000.0
    records = run(SkipSpikes(), norms)
    assert skips(records) == [150]
    assert records[150].norm_after == 0.0
    assert records[149].norm_after == records[149].norm_before


def test_nothing_is_skipped_before_half_of_the_window_is_known():
    """A spike among the first norms passes, unless it is an explosion and an eighth of the window is known."""
    norms = usual(80)
    norms[[15, 16]] = 1e3
    norms[[63, 64]] = 30.0
    records = run(SkipSpikes(max_fraction=1.0), norms)
    assert skips(records) == [16, 64]
    assert records[63].threshold == float("inf")


def test_k_is_the_distance_from_the_median_in_standard_deviations():
    """A norm just within is accepted; one just above is skipped."""
    norms = usual(100)
    median = np.median(norms)
    std = 1.4826 * np.median(np.abs(norms - median))
    assert skips(run(SkipSpikes(4.0), np.append(norms, median + 3.99 * std))) == []
    assert skips(run(SkipSpikes(4.0), np.append(norms, median + 4.01 * std))) == [100]


def test_a_constant_norm_makes_no_outlier_of_the_slightest_rise():
    """The standard deviation counts as at least 5% of the median."""
    norms = np.append(np.ones(100), [1.29, 1.31])
    assert skips(run(SkipSpikes(6.0), norms)) == [101]


def test_after_too_many_skips_in_a_row_steps_are_made_clipped_to_the_limit():
    """A genuine rise to 8 times the level is skipped 5 times, then clipped, then followed within half a window."""
    norms = np.append(usual(200), 8.0 * usual(100, seed=3))
    records = run(SkipSpikes(max_fraction=1.0), norms)
    assert skips(records)[:5] == [200, 201, 202, 203, 204]
    assert len(skips(records)) <= 10  # while the limit rises, a norm within it starts the count again
    assert records[205].norm_after == pytest.approx(records[205].threshold)
    assert records[205].clipped
    assert all(not record.clipped for record in records[200 + 64 + 6 :])


def test_a_norm_within_the_limit_starts_the_count_again():
    """Without a limit on their fraction, spikes that come one by one are all skipped."""
    norms = usual(200)
    norms[140:200:2] = 1000.0
    assert len(skips(run(SkipSpikes(max_fraction=1.0), norms))) == 30


def test_a_class_of_batches_that_recurs_is_learned_from():
    """Of spikes at every tenth step, one in ten is skipped: 1% of all steps. The rest is clipped to the limit."""
    norms = usual(2000)
    norms[200::10] = 50.0
    records = run(SkipSpikes(), norms)
    spikes = records[200::10]
    assert all(number <= 0.01 * (step + 1) for number, step in enumerate(skips(records), start=1))
    assert len(skips(records)) == 19
    clipped = [record for record in spikes if not record.skipped]
    assert all(record.clipped and record.norm_after == pytest.approx(record.threshold) for record in clipped)


def test_one_spike_hardly_moves_the_limit():
    """The limit moves by less than 5% within one step."""
    norms = np.append(usual(200), [1000.0, 1.0])
    records = run(SkipSpikes(), norms)
    assert records[201].threshold == pytest.approx(records[200].threshold, rel=0.05)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_norm_that_is_not_finite_changes_nothing(bad):
    """It is not skipped, not remembered, and does not end a run of spikes."""
    plain = np.append(usual(100), [50.0, 50.0])
    with_bad = np.insert(plain, 101, bad)
    ours, theirs = run(SkipSpikes(max_consecutive=1), with_bad), run(SkipSpikes(max_consecutive=1), plain)
    assert not ours[101].skipped
    assert skips(ours) == skips(theirs) == [100]
    assert ours[102].norm_after == theirs[101].norm_after


def test_zeros_are_not_remembered():
    """After many steps of zero gradients, the limit is unchanged, and no step is frozen."""
    records = run(SkipSpikes(window=16), np.concatenate([usual(40), np.zeros(100), usual(40)]))
    assert skips(records) == []
    assert records[140].threshold == records[40].threshold


def test_bad_arguments():
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=r"SkipSpikes\(k=0\): k must be a positive number"):
        SkipSpikes(0)
    with pytest.raises(ValueError, match=r"SkipSpikes\(window=1\): window must be at least 2"):
        SkipSpikes(window=1)
    with pytest.raises(ValueError, match=r"SkipSpikes\(max_consecutive=0\): max_consecutive must be at least 1"):
        SkipSpikes(max_consecutive=0)
    with pytest.raises(ValueError, match=r"SkipSpikes\(max_fraction=0.0\): max_fraction must be a positive number"):
        SkipSpikes(max_fraction=0.0)
    with pytest.raises(
        ValueError, match=r"SkipSpikes\(max_fraction=2\): max_fraction must be a number between 0 and 1"
    ):
        SkipSpikes(max_fraction=2)


def test_a_checkpoint_from_before_the_fraction_can_be_loaded():
    """Its budget starts anew; everything else is restored."""
    strategy = SkipSpikes()
    run(strategy, usual(100))
    saved = {name: value for name, value in strategy.state_dict().items() if not name.startswith("budget")}
    restored = SkipSpikes()
    restored.load_state_dict(saved)
    assert int(restored.norms.count) == 100
    assert int(restored.budget.count) == 0
