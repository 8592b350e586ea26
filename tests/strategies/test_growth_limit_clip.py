import itertools
import math
from copy import deepcopy

import pytest
import torch

from lightning_clip import GrowthLimitClip
from tests.references import per_tensor
from tests.support.probing import limit_of, lognormal_norms, play
from tests.support.scripted import assert_parity, in_both_precisions
from tests.support.tensors import clipped


@in_both_precisions
@pytest.mark.parametrize("per", ["parameter", "global"])
@pytest.mark.parametrize(("ratio", "floor"), [(1.01, 0.5), (1.5, 0.0)])
def test_it_follows_the_formula(ratio, floor, per, precision):
    """The limit is `ratio` times the last clipped norm, or times `floor` of the average if that is more."""
    rule = GrowthLimitClip(ratio, floor=floor, per=per)
    assert_parity(rule, per_tensor.growth_limit(ratio, floor=floor, of_all=per == "global"), **precision)


def test_the_first_gradient_is_left_alone():
    """There is nothing to compare it with."""
    assert play(GrowthLimitClip(), [1234.0, 5000.0]) == pytest.approx([1234.0, 1234.0 * 1.01])


def test_a_gradient_of_zero_is_passed_over():
    """After it, the norm may be 1% above the norm before it."""
    assert play(GrowthLimitClip(floor=0.0), [2.0, 0.0, 0.0, 9.0]) == pytest.approx([2.0, 0.0, 0.0, 2.02])


def test_after_one_small_gradient_growth_starts_from_the_floor():
    """The next norm may be half the average; without a floor it is held down."""
    norms = [*itertools.repeat(1.0, 100), 1e-6]
    floored, bare = GrowthLimitClip(), GrowthLimitClip(floor=0.0)
    play(floored, norms)
    play(bare, norms)
    assert limit_of(floored) == pytest.approx(1.01 * 0.5 * math.exp(0.01 / (1 - 0.99**101) * math.log(1e-6)), rel=1e-3)
    assert limit_of(bare) == pytest.approx(1.01e-6)


def test_one_spike_raises_the_limit_by_the_ratio():
    """This holds however large the spike is."""
    rule = GrowthLimitClip()
    play(rule, lognormal_norms(300))
    before = limit_of(rule)
    play(rule, [1000.0])
    assert limit_of(rule) <= 1.011 * before


def test_an_honest_rise_is_followed_at_the_ratio():
    """A rise to eight times the norm takes log(8) / log(1.01) = 209 steps; with a ratio of 2 it takes three."""
    for ratio, steps in ((1.01, 209), (2.0, 3)):
        rule = GrowthLimitClip(ratio)
        assert play(rule, [1.0, *itertools.repeat(8.0, steps)])[-1] == pytest.approx(8.0, rel=0.01)


def test_one_bad_tensor_changes_no_state():
    """A NaN in one gradient leaves the whole state unchanged."""
    rule = GrowthLimitClip()
    clipped(rule, a=torch.ones(3), b=torch.ones(2))
    before = deepcopy(rule.state_dict())
    left = clipped(rule, a=torch.tensor([1.0, torch.nan, 1.0]), b=torch.full((2,), 100.0))
    assert float(left["b"].norm()) == pytest.approx(1.01 * 2**0.5)
    after = rule.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items() if isinstance(v, torch.Tensor))


def test_per_global_keeps_the_direction():
    """There is one factor for all, and the limit is reported."""
    rule = GrowthLimitClip(2.0, per="global")
    clipped(rule, a=torch.tensor([3.0]), b=torch.tensor([4.0]))
    left = clipped(rule, a=torch.tensor([0.0]), b=torch.tensor([40.0]))
    assert float(left["b"]) == pytest.approx(10.0)


def test_min_scale_is_the_smallest_factor():
    """A norm far above the limit is halved and no more."""
    assert play(GrowthLimitClip(min_scale=0.5), [1.0, 100.0]) == pytest.approx([1.0, 50.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ratio": 1.0}, r"GrowthLimitClip\(ratio=1.0\): ratio must be above 1"),
        ({"ratio": math.nan}, r"GrowthLimitClip\(ratio=nan\): ratio must be a positive number"),
        ({"per": "layer"}, r"GrowthLimitClip\(per='layer'\): per must be one of 'parameter', 'global'"),
        ({"floor": -0.5}, r"GrowthLimitClip\(floor=-0.5\): floor must be a number between 0 and 1"),
        ({"decay": 1.0}, r"GrowthLimitClip\(decay=1.0\): decay must be at least 0 and below 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        GrowthLimitClip(**arguments)
