import pytest
import torch

from lightning_clip import NormalizeGradient
from tests.references import tensorwise
from tests.support.scripted import assert_parity, in_both_precisions
from tests.support.tensors import clipped, untouched

PER = pytest.mark.parametrize("per", ["global", "parameter"])


@PER
@in_both_precisions
def test_it_follows_the_formula(per, precision):
    """The result is `norm · g / ‖g‖`, globally or per parameter; zero stays zero."""
    reference = tensorwise.normalize(0.7, per_parameter=per == "parameter")
    assert_parity(NormalizeGradient(0.7, per=per), reference, **precision)


@PER
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_small_gradients_are_raised_and_large_ones_lowered(per, dtype):
    """This also works in half precision, where the factor itself would overflow."""
    for size in (2e-7, 1e-3, 1.0, 3000.0):
        left = clipped(NormalizeGradient(2.0, per=per), weight=torch.full((100,), size, dtype=dtype))["weight"]
        assert float(left.double().norm()) == pytest.approx(2.0, rel=2e-2), size


@PER
def test_extreme_norms_stay_finite(per):
    """Elements of 1e27 are lowered; elements of 1e-20 are raised by at most the largest float32 factor."""
    rule = NormalizeGradient(per=per)
    assert float(clipped(rule, weight=torch.full((4,), 1e-20))["weight"].norm()) == pytest.approx(1.0, rel=1e-3)
    assert clipped(NormalizeGradient(1e30, per=per), weight=torch.full((4,), 1e-20))["weight"].isfinite().all()
    assert float(clipped(rule, weight=torch.full((4,), 1e27))["weight"].double().norm()) == pytest.approx(1.0)


@PER
def test_zero_and_non_finite_gradients_are_left_alone(per):
    """Neither is written to."""
    untouched(NormalizeGradient(per=per), weight=torch.zeros(3))
    untouched(NormalizeGradient(per=per), weight=torch.tensor([torch.nan, 2.0]))
    untouched(NormalizeGradient(per=per), weight=torch.tensor([torch.inf, 2.0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"norm": 0.0}, r"NormalizeGradient\(norm=0.0\): norm must be a positive, finite number"),
        ({"norm": float("inf")}, r"NormalizeGradient\(norm=inf\): norm must be a positive, finite number"),
        ({"per": "layer"}, r"NormalizeGradient\(per='layer'\): per must be one of 'global', 'parameter'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        NormalizeGradient(**arguments)
