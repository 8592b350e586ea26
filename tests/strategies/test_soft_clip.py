import pytest
import torch

from lightning_clip import SoftClip
from lightning_clip.strategies.soft_clip import soft_coef
from tests.references import tensorwise
from tests.support.scripted import assert_parity, in_both_precisions
from tests.support.tensors import clipped, untouched

SHAPES = pytest.mark.parametrize("shape", ["sqrt", "rational", "tanh"])


@SHAPES
@in_both_precisions
@pytest.mark.parametrize("max_norm", [0.2, 5.0])
def test_it_follows_the_formula(shape, precision, max_norm):
    """The norm after clipping is the smooth function of the norm before."""
    assert_parity(SoftClip(max_norm, shape=shape), tensorwise.soft_clip(max_norm, shape), **precision)


@SHAPES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_norms_keep_their_order_under_the_limit(shape, dtype):
    """The norm after rises with the norm before, and never exceeds it or the limit."""
    norms = torch.logspace(-30, 30, 601, dtype=dtype)
    after = soft_coef(norms, 2.0, shape) * norms
    assert (after <= norms).all()
    assert (after <= 2.0 * (1 + 1e-6)).all()
    assert (after.diff() >= -1e-6 * after[1:]).all()
    assert float(after[-1]) == pytest.approx(2.0)


@SHAPES
def test_a_norm_of_zero_and_one_that_is_not_finite_are_left_alone(shape):
    """The factor is exactly 1."""
    norms = torch.tensor([0.0, torch.nan, torch.inf])
    assert torch.equal(soft_coef(norms, 1.0, shape), torch.ones(3))
    untouched(SoftClip(shape=shape), a=torch.tensor([torch.nan, 9.0]), b=torch.tensor([9.0]))
    untouched(SoftClip(shape=shape), a=torch.zeros(2))


@SHAPES
def test_finite_gradients_whose_norm_overflows_are_clipped(shape):
    """This covers elements of 1e27 in float32 and a norm of 94,868 in float16."""
    for grad in (torch.full((9,), 1e27), torch.full((1000,), 3000.0, dtype=torch.float16)):
        left = clipped(SoftClip(0.5, shape=shape), weight=grad)["weight"]
        assert float(left.double().norm()) == pytest.approx(0.5, rel=2e-2)


def test_min_scale_is_the_smallest_factor():
    """A gradient 100 times the limit shrinks to a tenth."""
    assert_parity(SoftClip(0.5, min_scale=0.1), tensorwise.soft_clip(0.5, "sqrt", min_scale=0.1))
    assert float(clipped(SoftClip(min_scale=0.1), weight=torch.tensor([100.0]))["weight"]) == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_norm": 0}, r"SoftClip\(max_norm=0\): max_norm must be a positive, finite number"),
        ({"shape": "cubic"}, r"SoftClip\(shape='cubic'\): shape must be one of 'sqrt', 'rational', 'tanh'"),
        ({"min_scale": 1.1}, r"SoftClip\(min_scale=1.1\): min_scale must be a number between 0 and 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        SoftClip(**arguments)
