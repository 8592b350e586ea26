import pytest
import torch

from lightning_clip.functional import clip_coef, finite_or

NAN, INF = float("nan"), float("inf")


def test_finite_or_replaces_what_is_not_finite():
    """By a number, or element by element; the dtype stays."""
    value = torch.tensor([1.5, NAN, INF, -INF], dtype=torch.float64)
    assert finite_or(value, 9.0).tolist() == [1.5, 9.0, 9.0, 9.0]
    other = finite_or(value, torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert other.tolist() == [1.5, 2.0, 3.0, 4.0]
    assert other.dtype == torch.float64
    assert finite_or(torch.empty(0), 1.0).shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_coefficient_brings_a_norm_to_the_limit(dtype):
    """Above the limit `limit / norm`; at or under it exactly 1."""
    norms = torch.tensor([0.0, 1e-30, 2.0, 8.0, 1e30], dtype=dtype)
    coefs = clip_coef(norms, 2.0)
    assert coefs.dtype == dtype
    torch.testing.assert_close(coefs, torch.tensor([1.0, 1.0, 1.0, 0.25, 2e-30], dtype=dtype))
    assert torch.equal(coefs[:3], torch.ones(3, dtype=dtype))


def test_a_limit_may_be_a_tensor():
    """One limit for each norm; an infinite one never binds, one of zero takes everything but zero."""
    coefs = clip_coef(torch.tensor([4.0, 4.0, 4.0, 0.0]), torch.tensor([1.0, INF, 0.0, 0.0]))
    assert coefs.tolist() == [0.25, 1.0, 0.0, 1.0]


@pytest.mark.parametrize("norm", [NAN, INF])
@pytest.mark.parametrize("limit", [1.0, 0.0, INF, NAN])
def test_a_norm_that_is_not_finite_gives_one(norm, limit):
    """A scale cannot repair it, and must not spread it."""
    assert float(clip_coef(torch.tensor(norm), limit, min_scale=0.5)) == 1.0


def test_a_limit_that_is_not_a_number_gives_one():
    """As at the first steps of a rule that has seen nothing yet."""
    assert float(clip_coef(torch.tensor(3.0), NAN)) == 1.0


def test_eps_is_added_to_the_norm():
    """`limit / (norm + eps)`: a norm that equals the limit shrinks too."""
    assert float(clip_coef(torch.tensor(1.0), 1.0, eps=0.25)) == pytest.approx(0.8)
    assert float(clip_coef(torch.tensor(0.75), 1.0, eps=0.25)) == 1.0


def test_min_scale_is_the_smallest_coefficient():
    """It binds for large norms only, also for infinite ratios."""
    coefs = clip_coef(torch.tensor([1.0, 4.0, 1e30]), 1.0, min_scale=0.1)
    torch.testing.assert_close(coefs, torch.tensor([1.0, 0.25, 0.1]))


def test_nothing_reads_the_device():
    """Both run on the meta device, where a host read raises."""
    norms = torch.ones(3, device="meta")
    assert clip_coef(norms, norms, eps=1e-6, min_scale=0.1).shape == (3,)
    assert finite_or(norms, 1.0).shape == (3,)
