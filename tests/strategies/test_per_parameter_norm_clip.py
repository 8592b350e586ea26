import pytest
import torch
from torch import nn

from lightning_clip import Gradients, PerParameterNormClip, clip_
from tests.references import tensorwise
from tests.support.scripted import assert_parity, in_both_precisions
from tests.support.tensors import clipped, untouched

P = [1.0, 2.0, 3.0, float("inf")]


@pytest.mark.parametrize("p", P)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(5,), (6, 4), (), (3, 2, 2, 2)], ids=str)
def test_each_tensor_is_clipped_like_torch_would_alone(shape, dtype, p):
    """It matches `torch.nn.utils.clip_grad_norm_` on each parameter by itself, except for torch's 1e-6."""
    generator = torch.Generator().manual_seed(0)
    grads = {f"p{i}": scale * torch.randn(shape, generator=generator, dtype=dtype) for i, scale in enumerate((5, 0.01))}
    ours = clipped(PerParameterNormClip(1.0, norm_type=p), **grads)
    for name, grad in grads.items():
        theirs = nn.Parameter(torch.zeros_like(grad))
        theirs.grad = grad.clone()
        nn.utils.clip_grad_norm_([theirs], 1.0, norm_type=p)
        torch.testing.assert_close(ours[name], theirs.grad, rtol=2e-6, atol=0)


@in_both_precisions
@pytest.mark.parametrize("p", P)
def test_it_follows_the_formula(p, precision):
    """Each gradient is multiplied by `min(1, max_norm / norm)`."""
    assert_parity(PerParameterNormClip(0.3, norm_type=p), tensorwise.per_parameter_norm_clip(0.3, p=p), **precision)


def test_min_scale_is_the_smallest_factor():
    """A gradient 100 times the limit shrinks to a tenth; others are clipped as usual."""
    left = clipped(PerParameterNormClip(1.0, min_scale=0.1), a=torch.tensor([100.0]), b=torch.tensor([2.0]))
    assert (float(left["a"]), float(left["b"])) == (10.0, 1.0)


def test_finite_gradients_whose_norm_overflows_are_clipped():
    """This covers elements of 1e27 in float32 and a norm of 94,868 in float16."""
    left = clipped(
        PerParameterNormClip(1.0), a=torch.full((9,), 1e27), b=torch.full((1000,), 3000.0, dtype=torch.float16)
    )
    assert left["a"].double().norm() == pytest.approx(1.0)
    assert left["b"].double().norm() == pytest.approx(1.0, rel=1e-2)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_left_and_the_others_are_clipped(bad):
    """The bad tensor keeps its values, and its neighbor is still clipped."""
    grad = torch.tensor([3.0, bad])
    left = clipped(PerParameterNormClip(1.0), a=grad, b=torch.tensor([3.0, 4.0]))
    assert torch.equal(left["a"].nan_to_num(), grad.nan_to_num())
    torch.testing.assert_close(left["b"], torch.tensor([0.6, 0.8]))


def test_an_uncoalesced_sparse_gradient_is_clipped_like_the_dense_one():
    """Rows that were looked up twice count with their sum."""
    ours, dense = nn.Embedding(6, 3, sparse=True), nn.Embedding(6, 3)
    for layer in (ours, dense):
        layer(torch.tensor([1, 4, 1, 1])).sum().backward()
        clip_(Gradients.of_module(layer), PerParameterNormClip(1.0))
    torch.testing.assert_close(ours.weight.grad.to_dense(), dense.weight.grad)
    assert float(dense.weight.grad.norm()) == pytest.approx(1.0)


def test_nothing_is_written_where_nothing_changes():
    """Only the tensor over its limit is written to."""
    grads = {"a": torch.ones(3), "b": torch.full((3,), 100.0)}
    versions = [grad._version for grad in grads.values()]
    params = [nn.Parameter(torch.zeros(3)) for _ in grads]
    for param, grad in zip(params, grads.values(), strict=True):
        param.grad = grad
    clip_(Gradients(list(grads), params), PerParameterNormClip(10.0))
    assert grads["a"]._version == versions[0]
    assert grads["b"]._version > versions[1]
    untouched(PerParameterNormClip(10.0), a=torch.ones(3), b=torch.zeros(2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_norm": 0.0}, r"PerParameterNormClip\(max_norm=0.0\): max_norm must be a positive, finite number"),
        ({"norm_type": -2}, r"PerParameterNormClip\(norm_type=-2\): norm_type must be a positive number"),
        ({"min_scale": -0.1}, r"PerParameterNormClip\(min_scale=-0.1\): min_scale must be a number between 0 and 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        PerParameterNormClip(**arguments)
