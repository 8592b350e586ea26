"""`Blend`: from one strategy to another."""

import pytest
import torch
from torch import nn

from lightning_clip import Blend, Chain, Gradients, NoClip, NormClip, PerParameterNormClip, ValueClip, clip_


def factors(strategy, steps, *, norm=4.0):
    found = []
    for step in range(steps):
        param = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        param.grad = torch.tensor([norm], dtype=torch.float64)
        clip_(Gradients(["p"], [param], step=step), strategy)
        found.append(float(param.grad) / norm)
    return found


def test_the_factor_moves_evenly_in_its_logarithm():
    """From 1/4 to 1 in four steps, each factor is sqrt(2) times the previous one."""
    expected = [0.25 * 2**0.5, 0.5, 0.5 * 2**0.5, 1.0, 1.0]
    assert factors(Blend(NormClip(1.0, eps=0.0), NoClip(), steps=4), 5) == pytest.approx(expected, abs=1e-12)


def test_it_blends_a_factor_for_each_parameter():
    """With a rule per parameter, each parameter keeps its own factor."""
    assert factors(Blend(PerParameterNormClip(1.0), NoClip(), steps=2), 2) == pytest.approx([0.5, 1.0])


def test_where_there_is_no_factor_the_second_acts():
    """A clamp cannot be blended, so it acts at once."""
    assert factors(Blend(NormClip(0.1), ValueClip(1.0), steps=10), 1) == [0.25]


def test_it_can_be_a_link_of_a_chain():
    """Its action is an ordinary scale."""
    assert factors(Chain([Blend(steps=3), NormClip(1.0, eps=0.0)]), 2) == [0.25, 0.25]


def test_a_blend_takes_at_least_a_step():
    """The error quotes the call."""
    with pytest.raises(ValueError, match=r"Blend\(steps=0\).*at least 1"):
        Blend(steps=0)
