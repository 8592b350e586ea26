import numpy as np
import pytest

from lightning_clip import ZClip
from tests.references import adaptive
from tests.support.norm_sequences import shift_by_a_spike, steps_to_follow_a_jump, thresholds_and_coefs, usual
from tests.support.scripted import assert_parity, in_both_precisions

MODES = pytest.mark.parametrize("mode", ["adaptive", "mean", "threshold"])
THEIR_NAMES = {
    "adaptive": ("zscore", "adaptive_scaling"),
    "mean": ("zscore", "mean"),
    "threshold": ("percentile", ""),
}


@in_both_precisions
@MODES
@pytest.mark.parametrize("history", ["observed", "clipped", "winsorized", "accepted"])
def test_it_follows_the_formula(history, mode, precision):
    """It matches the reference in each mode and with each history."""
    assert_parity(ZClip(mode=mode, history=history), adaptive.z_clip(mode=mode, history=history), **precision)


def test_every_number_is_used():
    """It matches the reference with other numbers than the defaults."""
    arguments = {"alpha": 0.8, "warmup_steps": 7, "max_norm": 2.0, "min_relative_std": 0.4}
    assert_parity(ZClip(1.0, **arguments), adaptive.z_clip(1.0, **arguments))


@MODES
@pytest.mark.parametrize("max_norm", [None, 1.0])
@pytest.mark.parametrize("skip", [False, True])
def test_the_preset_is_the_authors_rule_bit_for_bit(skip, max_norm, mode):
    """On float64 norms, every factor equals that of the authors' algorithm in Python numbers."""
    norms = usual(400) * (1 + np.random.default_rng(3).pareto(3.0, 400))
    norms[[10, 100, 250]] *= 1000
    authors = adaptive.AuthorsZClip(*THEIR_NAMES[mode], max_grad_norm=max_norm, skip_update_on_spike=skip)
    expected = [authors.factor(float(norm)) for norm in norms]
    strategy = ZClip.reference(mode=mode, max_norm=max_norm, skip_update_on_spike=skip)
    assert thresholds_and_coefs(strategy, norms)[1].tolist() == expected


@in_both_precisions
def test_the_preset_follows_the_authors_rule_on_whole_gradients(precision):
    """This holds with the authors' defaults, and with a `clip_factor`."""
    for arguments in ({}, {"max_norm": None, "clip_factor": 0.7}):
        theirs = {"max_grad_norm" if name == "max_norm" else name: value for name, value in arguments.items()}
        reference = adaptive.by_total_norm(adaptive.AuthorsZClip(**theirs).factor)
        assert_parity(ZClip.reference(**arguments), reference, **precision)


def test_a_nan_does_not_switch_the_preset_off():
    """The authors' rule would never clip again."""
    norms = np.array([*usual(60), np.nan, *usual(10, seed=1), 100.0])
    _, coefs = thresholds_and_coefs(ZClip.reference(max_norm=None), norms)
    assert coefs[-1] < 0.03


def test_the_further_out_the_less_is_left():
    """The adaptive mode leaves less of a large outlier than of a small one, but at least the mean."""
    left = []
    for outlier in (2.0, 4.0, 1000.0):
        norms = np.array([*usual(100), outlier])
        left.append(thresholds_and_coefs(ZClip(), norms)[1][-1] * outlier)
    assert left[0] > left[1] > left[2] > 0.9


def test_max_norm_acts_from_the_first_step():
    """It also applies during warmup, and it is the reported limit."""
    thresholds, coefs = thresholds_and_coefs(ZClip(max_norm=0.5), np.array([1.0] * 40))
    assert (thresholds == 0.5).all()
    assert (coefs == 0.5).all()


def test_a_spike_while_warming_up_opens_no_hole():
    """After a start from median and MAD, outliers of ten times are still clipped; after mean and variance, not."""
    norms = usual(61)
    norms[10] *= 1000
    norms[-1] = 10.0
    assert thresholds_and_coefs(ZClip(), norms)[1][-1] < 0.15
    assert thresholds_and_coefs(ZClip(robust_warmup=False), norms)[1][-1] == 1.0


def test_a_quiet_stretch_makes_no_outlier_of_a_small_rise():
    """The standard deviation is at least 5% of the mean."""
    norms = np.array([1.0] * 60 + [1.1])
    assert thresholds_and_coefs(ZClip(), norms)[1][-1] == 1.0
    assert thresholds_and_coefs(ZClip(min_relative_std=0.0), norms)[1][-1] < 1.0


@pytest.mark.parametrize("history", ["clipped", "winsorized", "accepted"])
def test_one_spike_moves_the_limit_by_less_than_five_percent(history):
    """It moves more only if stored as observed."""
    assert shift_by_a_spike(ZClip(history=history), before=200) == pytest.approx(1.0, abs=0.05)
    assert shift_by_a_spike(ZClip(history="observed"), before=200) > 10


@pytest.mark.parametrize(("history", "steps"), [("winsorized", 40), ("accepted", 40), ("observed", 5)])
def test_an_honest_jump_to_eight_times_is_followed(history, steps):
    """The default follows it within 40 steps."""
    for seed in range(3):
        assert steps_to_follow_a_jump(ZClip(history=history), before=100, seed=seed) <= steps


def test_what_the_docstring_says_of_clipped_histories_is_true():
    """The authors' default history does not follow a jump to eight times within 500 steps."""
    assert steps_to_follow_a_jump(ZClip(history="clipped"), before=100) == np.inf
    assert steps_to_follow_a_jump(ZClip.reference(max_norm=None), before=100) == np.inf


def test_min_scale_bounds_the_factor():
    """No factor is below `min_scale`."""
    _, coefs = thresholds_and_coefs(ZClip(min_scale=0.25), np.array([*usual(50), 1e6]))
    assert coefs[-1] == 0.25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"z_thresh": 0.0}, r"ZClip\(z_thresh=0.0\): z_thresh must be a positive number."),
        ({"alpha": 1.0}, r"ZClip\(alpha=1.0\): alpha must be at least 0 and below 1."),
        ({"warmup_steps": 0}, r"ZClip\(warmup_steps=0\): warmup_steps must be at least 1."),
        ({"mode": "zscore"}, r"ZClip\(mode='zscore'\): mode must be one of 'adaptive', 'mean', 'threshold'."),
        ({"clip_factor": 1.5}, r"ZClip\(clip_factor=1.5\): clip_factor must be a number between 0 and 1."),
        ({"clip_factor": 0.0}, r"ZClip\(clip_factor=0.0\): clip_factor must be a positive number."),
        ({"max_norm": 0.0}, r"ZClip\(max_norm=0.0\): max_norm must be a positive, finite number."),
        ({"eps": -1.0}, r"ZClip\(eps=-1.0\): eps must be a number of at least 0."),
        ({"min_relative_std": -1.0}, r"ZClip\(min_relative_std=-1.0\): min_relative_std must be .* at least 0."),
        ({"norm_eps": -1.0}, r"ZClip\(norm_eps=-1.0\): norm_eps must be a number of at least 0."),
        ({"history": "all"}, r"ZClip\(history='all'\): history must be one of 'observed', 'clipped'"),
        ({"min_scale": 2.0}, r"ZClip\(min_scale=2.0\): min_scale must be a number between 0 and 1."),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        ZClip(**arguments)
