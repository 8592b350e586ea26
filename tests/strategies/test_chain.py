import pytest
import torch
from torch import nn

from lightning_clip import (
    Action,
    Chain,
    ClipStrategy,
    Gradients,
    Keep,
    NoClip,
    NormClip,
    PerParameterNormClip,
    SkipSpikes,
    ValueClip,
    clip_,
)
from tests.references.composites import chained, each_norm_rule, norm_rule, value_rule
from tests.support.scripted import assert_parity, feed, in_both_precisions, parameters, scripted_steps, scripted_weights


class Look(ClipStrategy):
    """Records the norms it sees, and optionally reads the elements."""

    def __init__(self, at_elements: bool = False) -> None:
        super().__init__()
        self.at_elements = at_elements
        self.totals: list[float] = []
        self.elements: list[torch.Tensor] = []

    def decide(self, grads: Gradients) -> Action:
        self.totals.append(float(grads.total_norm()))
        if self.at_elements:
            self.elements = [tensor.clone() for tensor in grads.tensors]
        return Keep()


def of_norm(norm: float) -> dict[str, nn.Parameter]:
    param = nn.Parameter(torch.zeros(4, dtype=torch.float64))
    param.grad = torch.full((4,), norm / 2, dtype=torch.float64)
    return {"w": param}


def grads_of(params: dict[str, nn.Parameter]) -> Gradients:
    return Gradients(list(params), list(params.values()))


@in_both_precisions
def test_each_link_decides_on_what_the_one_before_leaves(precision):
    """A chain of value, per-tensor and total-norm rules equals the three rules applied by hand."""
    strategy = Chain([ValueClip(0.3), PerParameterNormClip(0.5), NormClip(0.6, eps=0.0)])
    assert_parity(strategy, chained(value_rule(0.3), each_norm_rule(0.5), norm_rule(0.6)), **precision)


@in_both_precisions
def test_the_order_of_the_links_counts(precision):
    """An element rule after a norm rule sees smaller elements."""
    strategy = Chain([NormClip(0.6, eps=0.0), ValueClip(0.1)])
    assert_parity(strategy, chained(norm_rule(0.6), value_rule(0.1)), **precision)


def test_a_link_sees_the_norms_that_the_one_before_leaves():
    """The second link sees the clipped norm and the clipped elements."""
    params, look = of_norm(10.0), Look(at_elements=True)
    clip_(grads_of(params), Chain([NormClip(1.0, eps=0.0), look]))
    assert look.totals == [pytest.approx(1.0)]
    torch.testing.assert_close(look.elements[0], params["w"].grad)


def test_a_scale_costs_the_next_link_neither_a_norm_nor_a_copy(monkeypatch):
    """Norms after a scale follow from the factors, and gradients are only copied if a link reads an element."""
    calls = []
    measure = torch._foreach_norm
    monkeypatch.setattr(torch, "_foreach_norm", lambda *a, **k: calls.append(1) or measure(*a, **k))
    monkeypatch.setattr(torch.Tensor, "clone", lambda *a, **k: pytest.fail("a gradient was copied"))
    look = Look()
    clip_(grads_of(of_norm(10.0)), Chain([NoClip(), PerParameterNormClip(4.0), NormClip(1.0), look]))
    assert look.totals == [pytest.approx(1.0)]
    assert len(calls) == 1


def test_links_after_a_skip_see_what_was_skipped():
    """The step is skipped, and later links still see the gradient."""
    params, look = of_norm(1.0), Look()
    strategy = Chain([SkipSpikes(window=4, max_fraction=1.0), look])
    for _ in range(4):
        clip_(grads_of(params), strategy)
    params["w"].grad.mul_(100.0)
    event = clip_(grads_of(params), strategy)
    assert bool(event.skipped)
    assert params["w"].grad is None
    assert len(look.totals) == 5


def test_the_record_of_scales_needs_no_second_measurement():
    """The factors of the links multiply; the limit is that of the last link that has one."""
    event = clip_(grads_of(of_norm(10.0)), Chain([PerParameterNormClip(5.0), NormClip(1.0, eps=0.0), NoClip()]))
    assert event.norm_after is None
    torch.testing.assert_close(event.coefs, torch.tensor([0.1], dtype=torch.float64))
    assert event.threshold == 1.0


def test_it_chooses_nothing_without_links():
    """An empty chain leaves the gradients unchanged."""
    params = of_norm(10.0)
    event = clip_(grads_of(params), Chain())
    assert float(event.coefs) == 1.0
    assert float(params["w"].grad.norm()) == 10.0


def test_the_state_of_the_links_is_in_the_state_dict():
    """State nests under the position of the link."""
    assert "links.1.norms.count" in Chain([NoClip(), SkipSpikes()]).state_dict()


def test_it_works_on_the_meta_device():
    """No link, and nothing between links, reads the device."""
    params = {n: nn.Parameter(p.to("meta")) for n, p in parameters(scripted_weights()).items()}
    for param in params.values():
        param.grad = torch.empty_like(param)
    strategy = Chain([NormClip(), NoClip(), PerParameterNormClip(), ValueClip(), NormClip()])
    clip_(grads_of(params), strategy)


def test_chains_nest():
    """A chain within a chain does the same as one long chain."""
    nested = Chain([Chain([ValueClip(0.3), PerParameterNormClip(0.5)]), NormClip(0.6)])
    flat = Chain([ValueClip(0.3), PerParameterNormClip(0.5), NormClip(0.6)])
    ours, theirs = parameters(scripted_weights()), parameters(scripted_weights())
    for grads in scripted_steps(20):
        feed(nested, ours, grads)
        feed(flat, theirs, grads)
        assert all(torch.equal(ours[n].grad, theirs[n].grad) for n in grads)


def test_a_link_must_be_a_strategy():
    """The error names a class instead of an instance, and a single strategy instead of a list."""
    with pytest.raises(TypeError, match=r"Chain\(strategies=\[<.*>\]\): each must be a ClipStrategy, not <class"):
        Chain([NormClip])
    with pytest.raises(TypeError, match=r"Chain\(strategies=NormClip\(.*\)\): strategies must be a list"):
        Chain(NormClip())
