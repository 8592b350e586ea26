import itertools
from copy import deepcopy

import pytest
import torch
from torch import nn

from lightning_clip import Gradients, SpikeClip, clip_
from tests.references import per_tensor
from tests.support.probing import limit_of, lognormal_norms, play
from tests.support.scripted import assert_parity, in_both_precisions
from tests.support.tensors import clipped, holding


@in_both_precisions
@pytest.mark.parametrize("history", ["observed", "clipped", "winsorized"])
@pytest.mark.parametrize("theta", [5000.0, 4.0])
def test_it_follows_the_formula(theta, history, precision):
    """`|g| <= sqrt(theta · v)`, where v is the bias-corrected average of earlier squares."""
    arguments = {"decay": 0.99, "warmup_steps": 10, "history": history}
    reference = per_tensor.elementwise(2.0, multiple=theta**0.5, **arguments)
    assert_parity(SpikeClip(theta, **arguments), reference, **precision)


def test_a_spike_is_cut_and_its_sign_kept():
    """After equal gradients, it is cut to the square root of theta times their size; the other elements stay."""
    rule = SpikeClip(100.0, warmup_steps=3)
    for _ in range(10):
        clipped(rule, w=torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(clipped(rule, w=torch.tensor([-1e4, 3.0]))["w"], torch.tensor([-10.0, 3.0]))


def test_nothing_is_limited_while_warming_up():
    """The warmup takes `warmup_steps` steps of each parameter; the next step is limited."""
    assert play(SpikeClip(4.0, warmup_steps=3), [1.0, 50.0, 2000.0]) == [1.0, 50.0, 2000.0]
    assert play(SpikeClip(4.0, warmup_steps=2), [1.0, 1.0, 2000.0])[-1] == pytest.approx(2.0)


def test_an_element_that_never_had_a_gradient_is_not_frozen():
    """Its first gradient stays unchanged, and so do the next ones."""
    rule = SpikeClip()
    for _ in range(400):
        clipped(rule, w=torch.tensor([1.0, 0.0]))
    for _ in range(3):
        assert clipped(rule, w=torch.tensor([1.0, 5.0]))["w"].tolist() == [1.0, 5.0]


def test_an_element_that_was_idle_for_long_moves_at_once():
    """After 1500 steps without a gradient, its usual magnitude is unchanged."""
    rule = SpikeClip(decay=0.99)
    for _ in range(50):
        clipped(rule, w=torch.tensor([1.0, 2.0]))
    for _ in range(1500):
        clipped(rule, w=torch.tensor([1.0, 0.0]))
    assert clipped(rule, w=torch.tensor([1.0, 2.0]))["w"].tolist() == [1.0, 2.0]


def test_one_spike_leaves_the_limit_within_five_percent():
    """The default history does this; stored as clipped it raises the limit 2.5 times, as observed 30 times."""
    limits = {}
    for history, steps in (("winsorized", 1000), ("clipped", 3000), ("observed", 1000)):
        rule = SpikeClip(history=history)
        play(rule, lognormal_norms(steps))
        before = limit_of(rule)
        play(rule, [1000.0])
        limits[history] = limit_of(rule) / before
    assert limits["winsorized"] <= 1.0501
    assert limits["clipped"] == pytest.approx(2.5, abs=0.1)
    assert limits["observed"] > 25


def test_an_honest_rise_is_never_clipped():
    """Eight times the usual magnitude is far from a spike, and the limit follows it within 700 steps."""
    rule = SpikeClip()
    play(rule, lognormal_norms(500))
    before = limit_of(rule)
    rise = 8 * lognormal_norms(700, seed=1)
    assert play(rule, rise) == list(rise)
    assert limit_of(rule) > 0.8 * 8 * before


def test_one_bad_tensor_changes_no_state():
    """A NaN in one gradient leaves all averages unchanged."""
    rule = SpikeClip(warmup_steps=1)
    for _ in range(3):
        clipped(rule, a=torch.ones(3), b=torch.ones(2))
    before = deepcopy(rule.magnitudes.means.values)
    clipped(rule, a=torch.tensor([1.0, torch.nan, 1.0]), b=torch.full((2,), 9.0))
    assert all(torch.equal(rule.magnitudes.means.values[name], value) for name, value in before.items())


def adam_after(grads: list[float], **options) -> tuple[nn.Parameter, torch.optim.Optimizer]:
    param = nn.Parameter(torch.zeros(2))
    adam = torch.optim.Adam([param], **options)
    for grad in grads:
        param.grad = torch.tensor([grad, 0.0])
        adam.step()
    return param, adam


@pytest.mark.parametrize("options", [{}, {"fused": True}, {"foreach": False}])
def test_the_optimizers_second_moment_can_be_the_source(options):
    """The limit is the root of theta times the bias-corrected `exp_avg_sq`, without state of our own."""
    param, adam = adam_after([2.0] * 30, **options)
    param.grad = torch.tensor([1e4, 7.0])
    rule = SpikeClip(100.0, source="optimizer")
    clip_(Gradients.of_optimizer(adam), rule)
    torch.testing.assert_close(param.grad, torch.tensor([20.0, 7.0]))
    assert not rule.magnitudes.means.values


def test_the_optimizers_warm_up_counts_its_steps():
    """Nothing is limited before the optimizer's `warmup_steps`-th step, nor before its first step."""
    for steps in (0, 19):
        param, adam = adam_after([2.0] * steps)
        param.grad = torch.tensor([1e6, 1e6])
        clip_(Gradients.of_optimizer(adam), SpikeClip(source="optimizer", warmup_steps=20))
        assert param.grad.tolist() == [1e6, 1e6]


def test_the_optimizer_must_keep_second_moments():
    """SGD is refused with the remedy, and so are gradients without an optimizer."""
    param = nn.Parameter(torch.zeros(2))
    param.grad = torch.ones(2)
    rule = SpikeClip(source="optimizer")
    with pytest.raises(ValueError, match=r"SpikeClip\(.*SGD keeps none"):
        rule.decide(Gradients.of_optimizer(torch.optim.SGD([param], lr=0.1)))
    with pytest.raises(ValueError, match=r"SpikeClip\(.*come without one"):
        rule.decide(holding(w=torch.ones(2)))


def test_a_sparse_gradient_is_refused():
    """The error names the parameter and two remedies."""
    layer = nn.Embedding(4, 2, sparse=True)
    layer(torch.tensor([1])).sum().backward()
    with pytest.raises(
        ValueError, match=r"the gradient of 'weight' is sparse: build its layer with sparse=False, or .* AdaGC"
    ):
        SpikeClip().decide(Gradients.of_module(layer))


def test_min_scale_is_the_smallest_factor():
    """A spike is cut to a tenth and no more."""
    rule = SpikeClip(4.0, warmup_steps=0, min_scale=0.1)
    assert play(rule, [*itertools.repeat(1.0, 5), 1000.0])[-1] == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"theta": 0.0}, r"SpikeClip\(theta=0.0\): theta must be a positive number"),
        ({"decay": 1.0}, r"SpikeClip\(decay=1.0\): decay must be at least 0 and below 1"),
        ({"warmup_steps": -1}, r"SpikeClip\(warmup_steps=-1\): warmup_steps must be at least 0"),
        ({"source": "adam"}, r"SpikeClip\(source='adam'\): source must be one of 'own', 'optimizer'"),
        ({"history": "accepted"}, r"SpikeClip\(history='accepted'\): history must be one of 'observed', 'clipped'"),
        ({"min_scale": -1.0}, r"SpikeClip\(min_scale=-1.0\): min_scale must be a number between 0 and 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        SpikeClip(**arguments)
