import math

import numpy as np
import pytest
import torch
from torch import nn

from lightning_clip import Gradients, SpectralClip, clip_
from lightning_clip.strategies.spectral_clip import soft_spectral_clip
from tests.references import tensorwise
from tests.support.scripted import assert_parity, scripted_weights
from tests.support.tensors import clipped, holding, untouched


def matrix(shape: tuple[int, int], peak: float, dtype: torch.dtype) -> torch.Tensor:
    """A random matrix with singular values from `peak` down to 0.1, or to a thousandth of `peak` if that is less."""
    generator = torch.Generator().manual_seed(0)
    u, _, vt = torch.linalg.svd(torch.randn(shape, generator=generator, dtype=torch.float64), full_matrices=False)
    values = torch.logspace(math.log10(peak), min(-1.0, math.log10(peak) - 3), min(shape), dtype=torch.float64)
    return (u * values @ vt).to(dtype)


def by_svd(grad: torch.Tensor, limit: float) -> torch.Tensor:
    left = tensorwise.spectral_clip(limit)({"w": grad.double().numpy()}, {})["w"]
    return torch.from_numpy(np.ascontiguousarray(left))


@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float64, 0.3), (torch.float64, 3.0), (torch.float32, 100.0)], ids=str
)
def test_it_follows_the_singular_value_decomposition(dtype, limit):
    """It matches on matrices, filters as `(out, rest)`, vectors and scalars, over 300 steps with spikes."""
    assert_parity(SpectralClip(limit), tensorwise.spectral_clip(limit), dtype=dtype)


@pytest.mark.parametrize("shape", [(20, 20), (40, 6), (6, 40), (1, 9), (9, 1)], ids=str)
@pytest.mark.parametrize("peak", [1e-6, 1e-2, 1.0, 30.0, 1e3, 1e4])
@pytest.mark.parametrize(("dtype", "digits"), [(torch.float32, 1e-6), (torch.float64, 1e-14)], ids=str)
def test_it_is_exact_to_rounding_up_to_ten_thousand_limits(shape, peak, dtype, digits):
    """Errors have the size of the rounding of the gradient itself."""
    grad = matrix(shape, peak, dtype)
    left = soft_spectral_clip(grad, grad.norm(), 1.0)
    error = torch.linalg.matrix_norm(left.double() - by_svd(grad, 1.0), 2)
    assert float(error) <= digits * peak


@pytest.mark.parametrize(("iterations", "peak"), [(12, 1e3), (16, 1e5), (18, 1e6)])
def test_the_documented_iterations_are_enough(iterations, peak):
    """They match the float64 decomposition to 1e-7 limits; four iterations fewer are far off."""
    grad = matrix((20, 20), peak, torch.float64)
    expected = by_svd(grad, 1.0)
    error = soft_spectral_clip(grad, grad.norm(), 1.0, iterations=iterations) - expected
    early = soft_spectral_clip(grad, grad.norm(), 1.0, iterations=iterations - 4) - expected
    assert float(torch.linalg.matrix_norm(error, 2)) < 1e-7 < 0.1 < float(torch.linalg.matrix_norm(early, 2))


@pytest.mark.parametrize("peak", [1e6, 1e12, 1e25])
@pytest.mark.parametrize("iterations", [1, 16])
def test_no_singular_value_is_too_large_however_few_the_iterations(peak, iterations):
    """With too few iterations, values fall short of the formula; none exceeds it or becomes NaN."""
    grad = matrix((12, 8), peak, torch.float32)
    left = clipped(SpectralClip(iterations=iterations), weight=grad)["weight"]
    assert float(torch.linalg.matrix_norm(left.double(), 2)) <= 1 + 1e-5


def test_one_dominant_direction_is_cut_and_the_others_stay():
    """A factor on the whole gradient would shrink everything."""
    left = clipped(SpectralClip(1.0), weight=torch.diag(torch.tensor([1000.0, 0.1, 0.01])))["weight"]
    torch.testing.assert_close(left.diag(), torch.tensor([1.0, 0.0995037, 0.0099995]), rtol=1e-3, atol=1e-5)


def test_half_precision_gradients_are_computed_in_float32():
    """This also works if the norm exceeds the range of float16."""
    grad = torch.full((40, 50), 3000.0, dtype=torch.float16)
    left = clipped(SpectralClip(1.0), weight=grad)["weight"]
    assert left.dtype == torch.float16
    torch.testing.assert_close(left.double(), by_svd(grad, 1.0), rtol=4e-3, atol=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_left_and_the_others_are_clipped(bad):
    """A NaN in one gradient does not affect the others."""
    grad = torch.tensor([[bad, 2.0], [3.0, 4.0]])
    left = clipped(SpectralClip(), a=grad, b=torch.full((4,), bad), c=torch.full((1,), 3.0))
    assert torch.equal(left["a"].nan_to_num(), grad.nan_to_num())
    assert torch.equal(left["b"].nan_to_num(), torch.full((4,), bad).nan_to_num())
    assert float(left["c"]) == pytest.approx(3 / 10**0.5)


def test_excluded_and_empty_gradients_are_not_touched():
    """`exclude` takes globs, and a zero matrix stays zero."""
    untouched(SpectralClip(exclude=["emb.*"]), emb__weight=torch.ones(9, 2), none=torch.zeros(0, 3))
    assert torch.equal(clipped(SpectralClip(), weight=torch.zeros(3, 2))["weight"], torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"SpectralClip\(exclude=\['emb'\]\): 'emb' matches no parameter .*correct it"):
        SpectralClip(exclude=["emb"]).decide(holding(head=torch.ones(2)))


def test_a_sparse_gradient_is_refused_with_the_remedy():
    """Excluding the parameter helps."""
    layer = nn.Embedding(6, 3, sparse=True)
    layer(torch.tensor([1])).sum().backward()
    with pytest.raises(
        ValueError, match=r"the gradient of 'weight' is sparse, .*; exclude the parameter, or use NormClip"
    ):
        SpectralClip().decide(Gradients.of_module(layer))
    clip_(Gradients.of_module(layer), SpectralClip(exclude=["weight"]))


def test_the_norm_falls_with_the_limit():
    """A smaller `max_singular_value` leaves a smaller norm."""
    grad = torch.from_numpy(scripted_weights()["linear.weight"])
    norms = [float(clipped(SpectralClip(limit), weight=grad)["weight"].norm()) for limit in (0.1, 1.0, 10.0)]
    assert norms == sorted(norms)
    assert norms[0] < 0.3 * norms[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_singular_value": 0}, r"SpectralClip\(max_singular_value=0\): .* must be a positive, finite number"),
        (
            {"max_singular_value": float("inf")},
            r"SpectralClip\(max_singular_value=inf\): .* must be a positive, finite",
        ),
        ({"iterations": 0}, r"SpectralClip\(iterations=0\): iterations must be at least 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        SpectralClip(**arguments)
