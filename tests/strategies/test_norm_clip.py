import pytest
import torch
from torch import nn

from lightning_clip import Gradients, NormClip, clip_
from tests.references import tensorwise
from tests.support.scripted import assert_parity, in_both_precisions
from tests.support.tensors import clipped, untouched

SHAPES = [[(5,)], [(6, 4), (6,), ()], [(3, 2, 2, 2), (17,), (1, 1)], [(1000,), (64, 65)]]
P = [1.0, 2.0, 3.0, float("inf")]


@pytest.mark.parametrize("max_norm", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("p", P)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_it_is_torchs_clip_grad_norm_bit_for_bit(shapes, dtype, p, max_norm):
    """The defaults match `torch.nn.utils.clip_grad_norm_`."""
    generator = torch.Generator().manual_seed(0)
    grads = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    theirs = [nn.Parameter(torch.zeros_like(grad)) for grad in grads]
    for param, grad in zip(theirs, grads, strict=True):
        param.grad = grad.clone()
    nn.utils.clip_grad_norm_(theirs, max_norm, norm_type=p)
    ours = clipped(NormClip(max_norm, norm_type=p), **{f"p{i}": grad for i, grad in enumerate(grads)})
    for param, grad in zip(theirs, ours.values(), strict=True):
        assert torch.equal(param.grad, grad)


@in_both_precisions
@pytest.mark.parametrize("p", P)
def test_it_follows_the_formula(p, precision):
    """The gradient is multiplied by `min(1, max_norm / (norm + eps))`."""
    assert_parity(NormClip(0.7, norm_type=p), tensorwise.norm_clip(0.7, p=p, eps=1e-6), **precision)


def test_without_eps_a_norm_at_the_limit_is_left_alone():
    """The exact form changes nothing at the limit; torch's form shrinks it."""
    grad = torch.tensor([3.0, 4.0])
    untouched(NormClip(5.0, eps=0.0), weight=grad)
    assert clipped(NormClip(5.0), weight=grad)["weight"][0] < 3.0


def test_min_scale_is_the_smallest_factor():
    """A gradient 100 times the limit shrinks to a tenth; one at 2 times the limit is halved as usual."""
    rule = NormClip(1.0, eps=0.0, min_scale=0.1)
    assert torch.equal(clipped(rule, weight=torch.tensor([100.0]))["weight"], torch.tensor([10.0]))
    assert torch.equal(clipped(rule, weight=torch.tensor([2.0]))["weight"], torch.tensor([1.0]))
    assert_parity(rule, tensorwise.norm_clip(1.0, min_scale=0.1))


def test_a_finite_gradient_whose_norm_overflows_float32_is_clipped():
    """Elements of 1e27 have squares that are infinite in float32."""
    left = clipped(NormClip(1.0), weight=torch.full((3, 3), 1e27), bias=torch.full((7,), -1e27))
    assert left["weight"].double().square().sum() + left["bias"].double().square().sum() == pytest.approx(1.0)


def test_a_half_precision_gradient_whose_norm_exceeds_its_range_is_clipped():
    """The norm of 94,868 exceeds the float16 maximum of 65,504."""
    left = clipped(NormClip(1.0), weight=torch.full((1000,), 3000.0, dtype=torch.float16))["weight"]
    assert left.dtype == torch.float16
    assert left.double().norm() == pytest.approx(1.0, rel=1e-2)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_left_as_it_is(bad):
    """One bad element leaves all tensors untouched."""
    untouched(NormClip(0.1), weight=torch.tensor([1.0, bad]), bias=torch.tensor([5.0]))


def test_an_uncoalesced_sparse_gradient_is_clipped_like_the_dense_one():
    """Rows that were looked up twice count with their sum."""
    ours, dense = nn.Embedding(6, 3, sparse=True), nn.Embedding(6, 3)
    dense.load_state_dict(ours.state_dict())
    for layer in (ours, dense):
        (10 * layer(torch.tensor([1, 4, 1, 1])).square().sum()).backward()
    assert not ours.weight.grad.is_coalesced()
    clip_(Gradients.of_module(ours), NormClip(0.5))
    nn.utils.clip_grad_norm_(dense.parameters(), 0.5)
    torch.testing.assert_close(ours.weight.grad.to_dense(), dense.weight.grad)


def test_nothing_is_written_where_nothing_changes():
    """If the norm is below the limit, not even the same values are written."""
    untouched(NormClip(10.0), weight=torch.ones(3, 2), bias=torch.zeros(2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_norm": -1.0}, r"NormClip\(max_norm=-1.0\): max_norm must be a positive, finite number"),
        ({"max_norm": float("nan")}, r"NormClip\(max_norm=nan\): max_norm must be a positive, finite number"),
        ({"norm_type": 0}, r"NormClip\(norm_type=0\): norm_type must be a positive number"),
        ({"eps": -1e-6}, r"NormClip\(eps=-1e-06\): eps must be a number of at least 0"),
        ({"min_scale": 1.5}, r"NormClip\(min_scale=1.5\): min_scale must be a number between 0 and 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        NormClip(**arguments)
