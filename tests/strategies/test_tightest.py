import pytest
import torch
from torch import nn

from lightning_clip import (
    Gradients,
    NoClip,
    NormClip,
    PerParameterNormClip,
    ScaleEach,
    SkipSpikes,
    Tightest,
    ValueClip,
    clip_,
)
from lightning_clip.core import Sequential, StepBuffer
from tests.references.composites import each_norm_rule, norm_rule, tightest, value_rule
from tests.support.scripted import assert_parity, feed, in_both_precisions, parameters, scripted_steps, scripted_weights

RULES = {
    "totals": ([NormClip(0.5, eps=0.0), NormClip(0.2, eps=0.0)], [norm_rule(0.5), norm_rule(0.2)]),
    "mixed": ([NormClip(0.5, eps=0.0), PerParameterNormClip(0.2), NoClip()], [norm_rule(0.5), each_norm_rule(0.2)]),
    "elements": ([PerParameterNormClip(0.5), ValueClip(0.1)], [each_norm_rule(0.5), value_rule(0.1)]),
}


@in_both_precisions
@pytest.mark.parametrize("name", RULES)
def test_the_smallest_factor_wins(name, precision):
    """Each gradient, or element, gets the strictest rule's result."""
    strategies, references = RULES[name]
    assert_parity(Tightest(strategies), tightest(*references), **precision)


def event_of(strategy, norm=10.0):
    param = nn.Parameter(torch.zeros(4))
    param.grad = torch.full((4,), norm / 2)
    return clip_(Gradients(["w"], [param]), strategy)


@pytest.mark.parametrize(("norm", "limit"), [(10.0, 1.0), (0.5, 1.0)])
def test_the_recorded_limit_is_that_of_the_winner(norm, limit):
    """It is the limit behind the smallest factor; of equal factors, the smaller limit."""
    for members in ([NormClip(5.0), NormClip(1.0), NoClip()], [NoClip(), NormClip(1.0), NormClip(5.0)]):
        assert float(event_of(Tightest(members), norm).threshold) == limit


def test_there_is_no_single_limit_per_tensor_or_without_limits():
    """Limits per tensor do not make one number, and no limit stays no limit."""
    assert event_of(Tightest([NormClip(), PerParameterNormClip()])).threshold is None
    assert event_of(Tightest([NoClip()])).threshold is None


def test_scales_are_recorded_without_a_second_measurement():
    """The norm after clipping follows from the factors."""
    event = event_of(Tightest([NormClip(5.0), PerParameterNormClip(2.0)]))
    assert event.norm_after is None
    assert event.coefs.tolist() == pytest.approx([0.2])


def test_the_state_of_all_advances():
    """A rule that did not win has still seen the step."""
    skip = SkipSpikes()
    params = parameters(scripted_weights())
    strategy = Tightest([NormClip(1e-3), skip])
    for grads in scripted_steps(10):
        feed(strategy, params, grads)
    assert int(skip.norms.count) == 10


def test_a_skip_by_one_is_a_skip():
    """The step is skipped if any member skips it, whichever factor is smallest."""
    strategy = Tightest([NormClip(1e-3), SkipSpikes(window=4, max_fraction=1.0)])
    for _ in range(4):
        assert not bool(event_of(strategy, 1.0).skipped)
    buffer = StepBuffer()
    buffer.add(event_of(strategy, 100.0))
    (record,) = buffer.flush()
    assert record.skipped
    assert record.norm_after == 0.0


def test_a_non_finite_gradient_stays_visible():
    """If one rule hides an infinity by clamping it, the result is no longer infinite; NaN stays NaN."""
    param = nn.Parameter(torch.zeros(2))
    param.grad = torch.tensor([float("nan"), 3.0])
    clip_(Gradients(["w"], [param]), Tightest([ValueClip(1.0), NoClip()]))
    assert param.grad[0].isnan()
    assert param.grad[1] == 1.0


def test_none_at_all_leaves_the_gradients_alone():
    """Without members, nothing is limited."""
    assert float(event_of(Tightest()).coefs) == 1.0


def test_it_works_on_the_meta_device():
    """Members of every kind decide and act without reading the device."""
    params = {n: nn.Parameter(p.to("meta")) for n, p in parameters(scripted_weights()).items()}
    for param in params.values():
        param.grad = torch.empty_like(param)
    for members in ([NormClip(), NoClip()], [NormClip(), PerParameterNormClip(), NoClip()], [NormClip(), ValueClip()]):
        clip_(Gradients(list(params), list(params.values())), Tightest(members))


def test_an_action_is_as_simple_as_its_parts():
    """There is one factor per tensor if any rule works tensor by tensor."""
    param = nn.Parameter(torch.zeros(4))
    param.grad = torch.ones(4)
    action = Tightest([NormClip(), PerParameterNormClip()]).decide(Gradients(["w"], [param]))
    assert isinstance(action, Sequential)
    assert isinstance(action.actions[0], ScaleEach)


def test_a_member_must_be_a_strategy():
    """The error quotes the offending member."""
    with pytest.raises(TypeError, match=r"Tightest\(strategies=\[.*, 1.0\]\): each must be a ClipStrategy, not 1.0"):
        Tightest([NormClip(), 1.0])
