import numpy as np
import pytest

from lightning_clip import EmaRatioClip
from tests.references import adaptive
from tests.support.norm_sequences import shift_by_a_spike, steps_to_follow_a_jump, thresholds_and_coefs, usual
from tests.support.scripted import assert_parity, in_both_precisions

HISTORIES = ["observed", "clipped", "winsorized", "accepted"]


@in_both_precisions
@pytest.mark.parametrize("history", HISTORIES)
def test_it_follows_the_formula(history, precision):
    """A norm above `trigger` times the slow average is clipped to `target` times the fast one, for each history."""
    assert_parity(EmaRatioClip(history=history), adaptive.ema_ratio_clip(history=history), **precision)
    arguments = {"target": 0.7, "fast": 0.5, "slow": 0.9, "warmup_steps": 4, "history": history, "start_norm": 0.1}
    arguments["max_norm"] = 1.5
    assert_parity(EmaRatioClip(1.2, **arguments), adaptive.ema_ratio_clip(1.2, **arguments), **precision)


def test_a_limit_that_is_changed_counts_from_the_next_norm():
    """`max_norm` and `start_norm` are read at each decision and not remembered from the first one."""
    strategy = EmaRatioClip(max_norm=100.0, start_norm=5.0, warmup_steps=4)
    assert thresholds_and_coefs(strategy, np.array([8.0]))[0][0] == 5.0
    strategy.start_norm = 2.0
    assert thresholds_and_coefs(strategy, np.array([8.0]))[0][0] == 2.0
    thresholds_and_coefs(strategy, np.ones(10))
    strategy.max_norm = 0.5
    assert thresholds_and_coefs(strategy, np.array([8.0]))[0][0] == 0.5


def test_a_clipped_norm_ends_at_the_target_and_not_at_the_trigger():
    """Norms within the trigger stay unchanged; norms above it end near the usual size."""
    norms = np.array([1.0] * 50 + [1.9, 4.0])
    thresholds, coefs = thresholds_and_coefs(EmaRatioClip(slow=0.9), norms)
    assert thresholds[50] == pytest.approx(2.0)
    assert coefs[50] == 1.0
    level = 0.9 * 1.0 + 0.1 * 1.9
    assert thresholds[51] == pytest.approx(2.0 * level)
    assert coefs[51] * 4.0 == pytest.approx(1.1 * level)


def test_it_never_raises_a_norm_after_a_fast_rise():
    """If the target is above the trigger, the target is the limit."""
    strategy = EmaRatioClip(1.2, fast=0.0, slow=0.999, history="observed")
    thresholds, coefs = thresholds_and_coefs(strategy, np.array([1.0] * 20 + [3.0, 3.2, 4.0]))
    assert thresholds[-1] == pytest.approx(1.1 * 3.2)
    assert coefs[-2:].tolist() == pytest.approx([1.0, 1.1 * 3.2 / 4.0])


def test_the_warmup_is_clipped_and_sets_the_level():
    """Both averages start at the lower median of what `start_norm` left of the first norms."""
    norms = usual(11)
    norms[0] = 1e6
    thresholds, coefs = thresholds_and_coefs(EmaRatioClip(), norms)
    assert thresholds[:10].tolist() == [1.0] * 10
    assert (coefs[:10] * norms[:10]).max() <= 1.0 + 1e-12
    assert thresholds[10] == pytest.approx(2 * sorted(np.minimum(norms[:10], 1.0))[4])


def test_no_norm_above_max_norm_is_left():
    """A level above it is clipped all the time; without it and `start_norm`, the rule depends on no scale."""
    norms = 1000.0 * usual(300)
    _, coefs = thresholds_and_coefs(EmaRatioClip(max_norm=20.0), norms)
    left = coefs * norms
    assert left[:10].max() <= 1.0 + 1e-12
    assert left.max() <= 20.0 + 1e-9
    free = {"start_norm": np.inf, "max_norm": np.inf}
    _, small = thresholds_and_coefs(EmaRatioClip(**free), usual(300))
    _, large = thresholds_and_coefs(EmaRatioClip(**free), norms)
    np.testing.assert_allclose(large, small, rtol=1e-9)


def test_its_reference_is_the_authors_rule():
    """Both give the same factors with spikes, a jump of the level and a slow drift."""
    norms = usual(400) * np.exp(np.linspace(0, 2, 400))
    norms[[20, 21, 150, 300]] *= 50.0
    norms[200:260] *= 8.0
    authors = adaptive.AuthorsEmaGradClip()
    expected = [authors.factor(norm) for norm in norms]
    _, coefs = thresholds_and_coefs(EmaRatioClip.reference(), norms)
    np.testing.assert_allclose(coefs, expected, rtol=1e-12)
    assert 0.02 < np.mean(np.array(expected) < 1) < 0.5


@pytest.mark.parametrize("history", ["clipped", "winsorized", "accepted"])
def test_one_spike_moves_the_trigger_by_less_than_five_percent(history):
    """One bad step costs the rule nothing, unless it stores what it observed."""
    assert shift_by_a_spike(EmaRatioClip(history=history), before=200) == pytest.approx(1.0, abs=0.05)
    assert shift_by_a_spike(EmaRatioClip(history="observed", max_norm=np.inf), before=200) > 10


@pytest.mark.parametrize(
    ("history", "steps"), [("winsorized", 80), ("observed", 80), ("clipped", 250), ("accepted", 500)]
)
def test_an_honest_jump_to_eight_times_is_followed(history, steps):
    """Winsorized norms follow it as fast as observed ones; clipped and accepted ones follow later."""
    for seed in range(2):
        assert steps_to_follow_a_jump(EmaRatioClip(history=history), before=100, seed=seed) <= steps


def test_min_scale_bounds_the_factor():
    """No factor is below `min_scale`."""
    _, coefs = thresholds_and_coefs(EmaRatioClip(min_scale=0.25), np.array([*usual(50), 1e6]))
    assert coefs[-1] == 0.25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trigger": 1.1}, r"EmaRatioClip\(trigger=1.1, target=1.1\): trigger must be greater than target."),
        ({"target": 0.0}, r"EmaRatioClip\(target=0.0\): target must be a positive"),
        ({"fast": 1.0}, r"EmaRatioClip\(fast=1.0\): fast must be at least 0 and below 1."),
        ({"slow": -0.1}, r"EmaRatioClip\(slow=-0.1\): slow must be at least 0 and below 1."),
        ({"warmup_steps": 0}, r"EmaRatioClip\(warmup_steps=0\): warmup_steps must be at least 1."),
        ({"start_norm": 0.0}, r"EmaRatioClip\(start_norm=0.0\): start_norm must be a positive number."),
        ({"max_norm": -1}, r"EmaRatioClip\(max_norm=-1\): max_norm must be a positive number."),
        ({"explosion": 1.0}, r"EmaRatioClip\(explosion=1.0\): explosion must be above 1."),
        ({"norm_eps": -1e-6}, r"EmaRatioClip\(norm_eps=-1e-06\): norm_eps must be a number of at least 0."),
        ({"history": "raw"}, r"EmaRatioClip\(history='raw'\): history must be one of 'observed', 'clipped'"),
        ({"min_scale": 2.0}, r"EmaRatioClip\(min_scale=2.0\): min_scale must be a number between 0 and 1."),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        EmaRatioClip(**arguments)
