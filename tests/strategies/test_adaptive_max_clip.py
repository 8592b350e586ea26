import itertools
from copy import deepcopy

import pytest
import torch

from lightning_clip import AdaptiveMaxClip
from tests.references import per_tensor
from tests.support.probing import limit_of, lognormal_norms, play
from tests.support.scripted import assert_parity, in_both_precisions
from tests.support.tensors import clipped, untouched


@in_both_precisions
@pytest.mark.parametrize("history", ["observed", "clipped", "winsorized"])
@pytest.mark.parametrize("decay", [0.7, 0.95])
def test_it_follows_the_formula(decay, history, precision):
    """Elements above the average of the largest element are scaled by average / largest."""
    assert_parity(AdaptiveMaxClip(decay, history=history), per_tensor.adaptive_max(decay, history=history), **precision)


def test_elements_above_the_average_keep_their_proportions():
    """After peaks of 1, a peak of 4 enters as 2: the average is 1.3, and elements above it are scaled by 1.3 / 4."""
    rule = AdaptiveMaxClip(0.7)
    for _ in range(40):
        clipped(rule, w=torch.tensor([1.0, -0.5, 0.2]))
    left = clipped(rule, w=torch.tensor([4.0, -2.0, 1.2]))["w"]
    torch.testing.assert_close(left, torch.tensor([1.3, -0.65, 1.2]), rtol=1e-5, atol=0.0)


def test_the_sources_history_cuts_a_spike_to_three_tenths_of_itself():
    """With `history="observed"`, the average includes the spike that it limits."""
    rule = AdaptiveMaxClip(0.7, history="observed")
    assert play(rule, [*itertools.repeat(1.0, 40), 1000.0])[-1] == pytest.approx(300.7, rel=1e-3)


def test_one_spike_is_forgotten():
    """It raises the average by at most 30%, and by less than 5% six steps later."""
    norms = lognormal_norms(306)
    calm, spiked = AdaptiveMaxClip(0.7), AdaptiveMaxClip(0.7)
    play(calm, norms[:300])
    play(spiked, [*norms[:299], 1000.0])
    # a probe has the same weight in each limit, so limits compare as averages do
    assert limit_of(spiked) / limit_of(calm) <= 1.3 / 0.8
    play(calm, norms[300:])
    play(spiked, norms[300:])
    assert limit_of(spiked) == pytest.approx(limit_of(calm), rel=0.05)


def test_an_honest_rise_is_followed_within_twelve_steps():
    """For a rise to eight times the norm, the average grows by 30% per step."""
    left = play(AdaptiveMaxClip(0.7), [*itertools.repeat(1.0, 100), *itertools.repeat(8.0, 20)])
    assert left[100] == pytest.approx(1.3, rel=1e-3)
    assert left[111] > 0.95 * 8


def test_the_default_decay_is_the_papers():
    """It is γ3 = 0.999, and not γ1 = 0.7, which belongs to the rule for norms."""
    assert AdaptiveMaxClip().decay == AdaptiveMaxClip.reference().decay == 0.999
    left = play(AdaptiveMaxClip(), [*itertools.repeat(1.0, 2000), *itertools.repeat(8.0, 2500)])
    assert left[2000] == pytest.approx(1.001, rel=1e-3)
    assert left[-1] > 0.8 * 8


def test_a_gradient_of_zero_is_passed_over():
    """It does not lower the average."""
    assert play(AdaptiveMaxClip(0.7), [1.0, 0.0, 0.0, 0.0, 2.0])[-1] == pytest.approx((0.3 * 2 + 0.21) / 0.51)


def test_each_parameter_counts_its_own_steps():
    """A parameter that joins late is not limited at its first gradient."""
    rule = AdaptiveMaxClip(0.7)
    for _ in range(20):
        clipped(rule, old=torch.ones(2))
    assert clipped(rule, old=torch.ones(2), new=torch.full((2,), 50.0))["new"].tolist() == [50.0, 50.0]


def test_one_bad_tensor_changes_no_state():
    """A NaN in one gradient leaves all averages unchanged, and the finite gradient is still limited."""
    rule = AdaptiveMaxClip(0.7)
    clipped(rule, a=torch.ones(3), b=torch.ones(2))
    before = deepcopy(rule.state_dict())
    left = clipped(rule, a=torch.tensor([1.0, torch.nan, 1.0]), b=torch.full((2,), 100.0))
    assert left["b"].tolist() == pytest.approx([1.0, 1.0])
    assert left["a"][[0, 2]].tolist() == [1.0, 1.0]
    after = rule.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items() if isinstance(v, torch.Tensor))


def test_min_scale_is_the_smallest_factor():
    """A spike is halved and no more."""
    assert play(AdaptiveMaxClip(0.7, min_scale=0.5), [1.0, 1000.0])[-1] == pytest.approx(500.0)


def test_nothing_is_written_where_nothing_changes():
    """A gradient whose peak equals the average is not touched."""
    rule = AdaptiveMaxClip(0.7)
    for _ in range(3):
        untouched(rule, w=torch.ones(3, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decay": 1.0}, r"AdaptiveMaxClip\(decay=1.0\): decay must be at least 0 and below 1"),
        ({"history": "accepted"}, r"AdaptiveMaxClip\(history='accepted'\): history must be one of 'observed'"),
        ({"min_scale": 2}, r"AdaptiveMaxClip\(min_scale=2\): min_scale must be a number between 0 and 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        AdaptiveMaxClip(**arguments)
