import math

import pytest
import torch
from torch import nn

from lightning_clip import Gradients, ValueClip, clip_
from tests.references import tensorwise
from tests.support.scripted import assert_parity, in_both_precisions
from tests.support.tensors import clipped, untouched

SHAPES = [[(5,)], [(6, 4), (6,), ()], [(3, 2, 2, 2), (17,), (1, 1)]]


@pytest.mark.parametrize("clip_value", [1e-3, 0.5, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_it_is_torchs_clip_grad_value_bit_for_bit(shapes, dtype, clip_value):
    """It matches `torch.nn.utils.clip_grad_value_`."""
    generator = torch.Generator().manual_seed(0)
    grads = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    theirs = [nn.Parameter(torch.zeros_like(grad)) for grad in grads]
    for param, grad in zip(theirs, grads, strict=True):
        param.grad = grad.clone()
    nn.utils.clip_grad_value_(theirs, clip_value)
    ours = clipped(ValueClip(clip_value), **{f"p{i}": grad for i, grad in enumerate(grads)})
    for param, grad in zip(theirs, ours.values(), strict=True):
        assert torch.equal(param.grad, grad)


@in_both_precisions
def test_it_follows_the_formula(precision):
    """Every element is within the bounds."""
    assert_parity(ValueClip(0.05), tensorwise.value_clip(0.05), **precision)


@pytest.mark.parametrize(
    ("dtype", "value"), [(torch.float32, 1e27), (torch.float16, 6e4), (torch.bfloat16, -1e38)], ids=str
)
def test_large_finite_elements_are_clamped(dtype, value):
    """Elements whose squares overflow float32 and elements at the limit of half precision are clamped too."""
    left = clipped(ValueClip(0.5), weight=torch.full((1000,), value, dtype=dtype))["weight"]
    assert torch.equal(left, torch.full((1000,), math.copysign(0.5, value), dtype=dtype))


def test_nan_stays_and_infinity_becomes_the_bound():
    """As documented, an infinity becomes a legal step, and NaN stays."""
    left = clipped(ValueClip(0.5), weight=torch.tensor([torch.nan, torch.inf, -torch.inf, 0.25]))["weight"]
    torch.testing.assert_close(left, torch.tensor([torch.nan, 0.5, -0.5, 0.25]), equal_nan=True, rtol=0, atol=0)


def test_an_uncoalesced_sparse_gradient_is_clamped_like_the_dense_one():
    """Rows that were looked up twice are summed before clamping."""
    ours, dense = nn.Embedding(6, 3, sparse=True), nn.Embedding(6, 3)
    for layer in (ours, dense):
        layer(torch.tensor([1, 4, 1, 1])).sum().backward()
    clip_(Gradients.of_module(ours), ValueClip(2.0))
    nn.utils.clip_grad_value_(dense.parameters(), 2.0)
    assert torch.equal(ours.weight.grad.to_dense(), dense.weight.grad)
    assert dense.weight.grad.max() == 2.0


def test_nothing_is_written_where_nothing_changes():
    """If all elements are within the bounds, not even the same values are written."""
    untouched(ValueClip(1.0), weight=torch.ones(3, 2), bias=torch.zeros(2))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_bad_arguments_are_refused(value):
    """The error quotes the call and states the rule."""
    with pytest.raises(
        ValueError, match=rf"ValueClip\(clip_value={value}\): clip_value must be a positive, finite number"
    ):
        ValueClip(value)
