import numpy as np
import pytest

from lightning_clip import RobustClip
from tests.references import adaptive
from tests.support.norm_sequences import shift_by_a_spike, steps_to_follow_a_jump, thresholds_and_coefs, usual
from tests.support.scripted import assert_parity, in_both_precisions

HISTORIES = ["observed", "clipped", "winsorized", "accepted"]


@in_both_precisions
@pytest.mark.parametrize("history", HISTORIES)
def test_it_follows_the_formula(history, precision):
    """The limit is median + k * 1.4826 * MAD of the latest norms, for each history."""
    assert_parity(RobustClip(history=history), adaptive.robust_clip(history=history), **precision)
    strategy = RobustClip(1.5, window=25, min_history=10, history=history)
    assert_parity(strategy, adaptive.robust_clip(1.5, window=25, min_history=10, history=history), **precision)


def test_nothing_is_clipped_before_half_of_the_window_is_known():
    """From then on, a spike is clipped; an explosion is once a fourth of these are known."""
    norms = usual(70)
    norms[[15, 16]] = 1e3
    _, early = thresholds_and_coefs(RobustClip(), norms)
    assert early[15] == 1.0
    assert early[16] < 0.003
    norms = usual(70)
    norms[[40, 63, 64]] = 30.0
    thresholds, coefs = thresholds_and_coefs(RobustClip(), norms)
    assert (thresholds[:64] == np.inf).all()
    assert coefs[[40, 63]].tolist() == [1.0, 1.0]
    assert coefs[64] < 0.1


def test_a_quiet_stretch_makes_no_outlier_of_a_small_rise():
    """The standard deviation is at least 5% of the median."""
    norms = np.array([1.0] * 100 + [1.14, 1.5])
    assert thresholds_and_coefs(RobustClip(), norms)[1][-2:].tolist() == pytest.approx([1.0, 1.15 / 1.5])
    assert thresholds_and_coefs(RobustClip(min_relative_std=0.0), norms)[1][-2] == pytest.approx(1 / 1.14)


@pytest.mark.parametrize("history", HISTORIES)
def test_one_spike_moves_the_limit_by_less_than_five_percent(history):
    """A spike moves a median by one rank."""
    assert shift_by_a_spike(RobustClip(history=history), before=200) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("history", "steps"), [("observed", 64), ("winsorized", 64), ("clipped", 128), ("accepted", 90)]
)
def test_an_honest_jump_to_eight_times_is_followed(history, steps):
    """The default follows within half of the window; histories that store less follow later."""
    for seed in range(2):
        assert steps_to_follow_a_jump(RobustClip(history=history), before=200, seed=seed) <= steps


def test_min_scale_bounds_the_factor():
    """No factor is below `min_scale`."""
    _, coefs = thresholds_and_coefs(RobustClip(min_scale=0.25), np.array([*usual(70), 1e6]))
    assert coefs[-1] == 0.25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0.0}, r"RobustClip\(k=0.0\): k must be a positive number."),
        ({"window": 0}, r"RobustClip\(window=0\): window must be at least 1."),
        ({"min_history": 0}, r"RobustClip\(min_history=0\): min_history must be at least 1."),
        (
            {"window": 10, "min_history": 11},
            r"RobustClip\(window=10, min_history=11\): min_history must be at most window.",
        ),
        ({"history": "all"}, r"RobustClip\(history='all'\): history must be one of 'observed', 'clipped'"),
        ({"min_relative_std": -0.1}, r"RobustClip\(min_relative_std=-0.1\): min_relative_std must be .* at least 0."),
        ({"min_scale": 2.0}, r"RobustClip\(min_scale=2.0\): min_scale must be a number between 0 and 1."),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        RobustClip(**arguments)
