import pytest
import torch
from torch import nn

from lightning_clip import Gradients, PerParameterRatioClip, clip_
from tests.references import tensorwise
from tests.support.scripted import assert_parity, in_both_precisions
from tests.support.tensors import clipped, untouched


@in_both_precisions
@pytest.mark.parametrize(("clip_factor", "eps"), [(0.3, 1e-3), (0.05, 1e-3), (0.05, 0.9)])
def test_it_follows_the_formula(clip_factor, eps, precision):
    """The result is `g / max(1, norm / (clip_factor · max(eps, parameter norm)))`."""
    rule = PerParameterRatioClip(clip_factor, eps=eps)
    assert_parity(rule, tensorwise.ratio_clip(clip_factor, eps), **precision)


def test_a_parameter_that_starts_at_zero_still_moves():
    """The floor leaves a gradient with a norm of `clip_factor · eps`."""
    left = clipped(PerParameterRatioClip(0.3, eps=1e-3), weight=torch.full((2, 3), 5.0))["weight"]
    assert float(left.norm()) == pytest.approx(3e-4)


def test_min_scale_is_the_smallest_factor():
    """A gradient far over its limit shrinks to a tenth."""
    left = clipped(PerParameterRatioClip(min_scale=0.1), weight=torch.ones(3))["weight"]
    torch.testing.assert_close(left, torch.full((3,), 0.1))


def test_a_gradient_that_is_not_finite_is_left_and_the_others_are_clipped():
    """A NaN in one gradient does not affect the others."""
    left = clipped(PerParameterRatioClip(), a=torch.tensor([torch.nan, 2.0]), b=torch.ones(4))
    assert float(left["a"][1]) == 2.0
    assert float(left["b"].norm()) == pytest.approx(3e-4)


def test_a_sparse_gradient_is_clipped_like_the_dense_one():
    """The whole parameter counts, including rows without a gradient."""
    ours, dense = nn.Embedding(6, 3, sparse=True), nn.Embedding(6, 3)
    dense.load_state_dict(ours.state_dict())
    for layer in (ours, dense):
        layer(torch.tensor([1, 4, 1, 1])).sum().backward()
        clip_(Gradients.of_module(layer), PerParameterRatioClip())
    torch.testing.assert_close(ours.weight.grad.to_dense(), dense.weight.grad)
    assert float(dense.weight.grad.norm()) == pytest.approx(0.3 * float(dense.weight.detach().norm()))


def test_nothing_is_written_where_nothing_changes():
    """Gradients within the ratio are not touched."""
    untouched(PerParameterRatioClip(eps=1e3), weight=torch.ones(3, 2), bias=torch.ones(2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"clip_factor": -0.3},
            r"PerParameterRatioClip\(clip_factor=-0.3\): clip_factor must be a positive, finite number",
        ),
        ({"eps": 0.0}, r"PerParameterRatioClip\(eps=0.0\): eps must be a positive, finite number"),
        ({"min_scale": 7}, r"PerParameterRatioClip\(min_scale=7\): min_scale must be a number between 0 and 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        PerParameterRatioClip(**arguments)
