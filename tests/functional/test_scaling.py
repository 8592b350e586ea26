import pytest
import torch

from lightning_clip.functional import clip_coef, finite_or

NAN, INF = float("nan"), float("inf")


def test_finite_or_replaces_what_is_not_finite():
    """Non-finite values are replaced by a number or element by element; the dtype stays."""
    value = torch.tensor([1.5, NAN, INF, -INF], dtype=torch.float64)
    assert finite_or(value, 9.0).tolist() == [1.5, 9.0, 9.0, 9.0]
    other = finite_or(value, torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert other.tolist() == [1.5, 2.0, 3.0, 4.0]
    assert other.dtype == torch.float64
    assert finite_or(torch.empty(0), 1.0).shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_coefficient_brings_a_norm_to_the_limit(dtype):
    """It is `limit / norm` above the limit, and exactly 1 at or below it."""
    norms = torch.tensor([0.0, 1e-30, 2.0, 8.0, 1e30], dtype=dtype)
    coefs = clip_coef(norms, 2.0)
    assert coefs.dtype == dtype
    torch.testing.assert_close(coefs, torch.tensor([1.0, 1.0, 1.0, 0.25, 2e-30], dtype=dtype))
    assert torch.equal(coefs[:3], torch.ones(3, dtype=dtype))


def test_a_limit_may_be_a_tensor():
    """Each norm can have its own limit; an infinite limit never clips, and a limit of zero leaves nothing."""
    coefs = clip_coef(torch.tensor([4.0, 4.0, 4.0, 0.0]), torch.tensor([1.0, INF, 0.0, 0.0]))
    assert coefs.tolist() == [0.25, 1.0, 0.0, 1.0]


@pytest.mark.parametrize("norm", [NAN, INF])
@pytest.mark.parametrize("limit", [1.0, 0.0, INF, NAN])
def test_a_norm_that_is_not_finite_gives_one(norm, limit):
    """Scaling cannot repair the norm and must not spread it."""
    assert float(clip_coef(torch.tensor(norm), limit, min_scale=0.5)) == 1.0


def test_a_limit_that_is_not_a_number_gives_one():
    """The limit is NaN during the first steps of a rule that has seen nothing yet."""
    assert float(clip_coef(torch.tensor(3.0), NAN)) == 1.0


def test_eps_is_added_to_the_norm():
    """With `limit / (norm + eps)`, a norm equal to the limit shrinks too."""
    assert float(clip_coef(torch.tensor(1.0), 1.0, eps=0.25)) == pytest.approx(0.8)
    assert float(clip_coef(torch.tensor(0.75), 1.0, eps=0.25)) == 1.0


def test_min_scale_is_the_smallest_coefficient():
    """It applies to large norms only, and to infinite ratios too."""
    coefs = clip_coef(torch.tensor([1.0, 4.0, 1e30]), 1.0, min_scale=0.1)
    torch.testing.assert_close(coefs, torch.tensor([1.0, 0.25, 0.1]))


def test_nothing_reads_the_device():
    """Both functions run on the meta device, where a host read raises."""
    norms = torch.ones(3, device="meta")
    assert clip_coef(norms, norms, eps=1e-6, min_scale=0.1).shape == (3,)
    assert finite_or(norms, 1.0).shape == (3,)
