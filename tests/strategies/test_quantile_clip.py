import numpy as np
import pytest

from lightning_clip import QuantileClip
from tests.references import adaptive
from tests.support.norm_sequences import shift_by_a_spike, steps_to_follow_a_jump, thresholds_and_coefs, usual
from tests.support.scripted import assert_parity, in_both_precisions


@in_both_precisions
def test_it_follows_the_formula(precision):
    """The limit moves by `exp(-rate * ([N <= c] - quantile))`."""
    assert_parity(QuantileClip(), adaptive.quantile_clip(), **precision)
    strategy = QuantileClip(0.4, rate=0.2, warmup_steps=25)
    assert_parity(strategy, adaptive.quantile_clip(0.4, rate=0.2, warmup_steps=25), **precision)


@pytest.mark.parametrize("quantile", [0.5, 0.9])
def test_it_finds_the_quantile(quantile):
    """That fraction of the steps is not clipped, and the limit settles at that quantile."""
    norms = usual(4000)
    thresholds, coefs = thresholds_and_coefs(QuantileClip(quantile, rate=0.02), norms)
    assert np.mean(coefs[500:] == 1) == pytest.approx(quantile, abs=0.02)
    assert thresholds[500:].mean() == pytest.approx(np.quantile(norms, quantile), rel=0.05)


def test_a_spike_moves_the_limit_by_a_bounded_step():
    """The limit moves by `exp(rate * quantile)`, whatever the size of the spike."""
    for size in (10.0, 1e30):
        thresholds, _ = thresholds_and_coefs(QuantileClip(), np.array([*usual(100), size, 1.0]))
        assert thresholds[-1] / thresholds[-2] == pytest.approx(np.exp(0.05 * 0.9))
    assert shift_by_a_spike(QuantileClip(), before=100) < 1.05


def test_a_spike_among_the_first_norms_does_not_set_the_limit():
    """The limit starts at the second largest of ten norms."""
    norms = usual(11)
    norms[4] = 1e6
    thresholds, coefs = thresholds_and_coefs(QuantileClip(), norms)
    assert thresholds[:10].tolist() == [np.inf] * 10
    assert thresholds[10] == sorted(norms[:10])[-2]
    assert (coefs[:10] == 1).all()


@pytest.mark.parametrize("seed", range(3))
def test_an_honest_jump_to_eight_times_is_followed_within_60_steps(seed):
    """The limit rises by 4.6% per step: ln(8) / 0.045 = 46 steps."""
    assert steps_to_follow_a_jump(QuantileClip(), before=100, seed=seed) <= 60


def test_an_honest_fall_to_an_eighth_is_followed_within_450_steps():
    """The limit falls by 0.5% per step: ln(8) / 0.005 = 416 steps."""
    norms = usual(600)
    norms[100:] /= 8
    thresholds, _ = thresholds_and_coefs(QuantileClip(), norms)
    assert thresholds[100 + 450] < 2 / 8


def test_min_scale_bounds_the_factor():
    """No factor is below `min_scale`."""
    _, coefs = thresholds_and_coefs(QuantileClip(min_scale=0.25), np.array([*usual(50), 1e6]))
    assert coefs[-1] == 0.25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"quantile": 1.5}, r"QuantileClip\(quantile=1.5\): quantile must be a number between 0 and 1."),
        ({"quantile": 0.0}, r"QuantileClip\(quantile=0.0\): quantile must be a positive number."),
        ({"quantile": 1.0}, r"QuantileClip\(quantile=1.0\): quantile must be below 1"),
        ({"rate": 0.0}, r"QuantileClip\(rate=0.0\): rate must be a positive"),
        ({"rate": float("inf")}, r"QuantileClip\(rate=inf\): rate must be a positive, finite number"),
        ({"warmup_steps": 1}, r"QuantileClip\(warmup_steps=1\): warmup_steps must be at least 2."),
        ({"min_scale": -1.0}, r"QuantileClip\(min_scale=-1.0\): min_scale must be a number between 0 and 1."),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        QuantileClip(**arguments)
