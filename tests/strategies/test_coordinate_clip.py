import itertools
from copy import deepcopy

import numpy as np
import pytest
import torch

from lightning_clip import CoordinateClip
from tests.references import per_tensor
from tests.support.probing import limit_of, lognormal_norms, play
from tests.support.scripted import assert_parity, in_both_precisions
from tests.support.tensors import clipped


@in_both_precisions
@pytest.mark.parametrize("history", ["observed", "clipped", "winsorized"])
@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_it_follows_the_formula(alpha, history, precision):
    """The factor is `min(1, τ / (|g| + eps))`, where τ is the bias-corrected power mean of earlier magnitudes."""
    arguments = {"decay": 0.95, "warmup_steps": 10, "history": history}
    rule = CoordinateClip(alpha, eps=1e-3, **arguments)
    assert_parity(rule, per_tensor.elementwise(alpha, eps=1e-3, **arguments), **precision)


def test_it_does_not_ratchet_up_from_zero():
    """A constant gradient stays unchanged from the first limited step on."""
    left = play(CoordinateClip(eps=0.0, warmup_steps=1), itertools.repeat(1.0, 30))
    assert left == pytest.approx([1.0] * 30, rel=1e-12)


def test_an_element_first_seen_late_is_not_frozen():
    """Its first gradient stays unchanged, and later ones are limited to it."""
    rule = CoordinateClip(eps=0.0)
    for _ in range(300):
        clipped(rule, w=torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(clipped(rule, w=torch.tensor([1.0, 5.0]))["w"], torch.tensor([1.0, 5.0]))
    torch.testing.assert_close(clipped(rule, w=torch.tensor([1.0, 9.0]))["w"], torch.tensor([1.0, 5.0]))


def test_an_average_that_underflows_or_overflows_lets_later_values_in():
    """Averages of 1e-30 and 1e30, whose squares leave float32, still follow later values to 1."""
    rule = CoordinateClip(2.0, eps=0.0)
    for extreme in (1e-30, 1e30):
        for _ in range(40):
            clipped(rule, w=torch.tensor([1.0, extreme]))
        for _ in range(60):
            left = clipped(rule, w=torch.tensor([1.0, 1.0]))["w"]
        torch.testing.assert_close(left, torch.ones(2), rtol=1e-4, atol=0.0)


def test_nothing_is_limited_while_warming_up():
    """The warmup takes `warmup_steps` steps of each parameter."""
    assert play(CoordinateClip(warmup_steps=3), [1.0, 50.0, 2000.0]) == [1.0, 50.0, 2000.0]


def test_four_in_ten_elements_are_limited_on_normal_gradients():
    """A limit at the mean magnitude does this, because P(|z| > E|z|) is 0.42."""
    rule, rng = CoordinateClip(eps=0.0), torch.Generator().manual_seed(0)
    fractions = []
    for _ in range(400):
        grad = torch.randn(200, generator=rng)
        fractions.append(float((clipped(rule, w=grad)["w"] != grad).float().mean()))
    assert np.mean(fractions[200:]) == pytest.approx(0.42, abs=0.03)


def test_one_spike_leaves_the_limit_within_five_percent():
    """The default history does this; stored as observed, the spike raises the limit by a factor of eleven."""
    robust, raw = CoordinateClip(eps=0.0), CoordinateClip(eps=0.0, history="observed")
    for rule, factors in ((robust, (1.0, 1.0501)), (raw, (10.0, 12.0))):
        play(rule, lognormal_norms(300))
        before = limit_of(rule)
        play(rule, [1000.0])
        assert factors[0] <= limit_of(rule) / before <= factors[1]


def test_an_honest_rise_is_followed_within_two_hundred_steps():
    """For eight times the magnitude, τ grows by up to 5% per step."""
    rule = CoordinateClip()
    play(rule, lognormal_norms(300))
    play(rule, 8 * lognormal_norms(200, seed=1))
    assert limit_of(rule) > 0.8 * 8 * np.exp(0.25**2 / 2)


def test_one_bad_tensor_changes_no_state():
    """A NaN in one gradient leaves all averages unchanged."""
    rule = CoordinateClip(warmup_steps=1)
    for _ in range(3):
        clipped(rule, a=torch.ones(3), b=torch.ones(2))
    before = deepcopy(rule.magnitudes.means.values)
    left = clipped(rule, a=torch.tensor([1.0, torch.nan, 1.0]), b=torch.full((2,), 9.0))
    torch.testing.assert_close(left["b"], torch.ones(2), rtol=1e-4, atol=0.0)
    assert all(torch.equal(rule.magnitudes.means.values[name], value) for name, value in before.items())


def test_eps_far_above_the_gradients_shrinks_them():
    """The paper's eps of 1e-5 shrinks gradients of 1e-6 to an eleventh."""
    norms = list(itertools.repeat(1e-6, 30))
    assert play(CoordinateClip(), norms)[-1] == pytest.approx(1e-6 / 11)
    assert play(CoordinateClip(eps=0.0), norms)[-1] == pytest.approx(1e-6)


def test_min_scale_is_the_smallest_factor():
    """A spike is cut to a tenth and no more."""
    rule = CoordinateClip(warmup_steps=0, min_scale=0.1)
    assert play(rule, [*itertools.repeat(1.0, 5), 1000.0])[-1] == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 0.0}, r"CoordinateClip\(alpha=0.0\): alpha must be a positive, finite number"),
        ({"alpha": float("inf")}, r"CoordinateClip\(alpha=inf\): alpha must be a positive, finite number"),
        ({"decay": 1.0}, r"CoordinateClip\(decay=1.0\): decay must be at least 0 and below 1"),
        ({"eps": -1.0}, r"CoordinateClip\(eps=-1.0\): eps must be a number of at least 0"),
        ({"warmup_steps": -1}, r"CoordinateClip\(warmup_steps=-1\): warmup_steps must be at least 0"),
        ({"history": "accepted"}, r"CoordinateClip\(history='accepted'\): history must be one of 'observed'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        CoordinateClip(**arguments)
