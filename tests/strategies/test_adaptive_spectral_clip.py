import itertools
from copy import deepcopy

import pytest
import torch

from lightning_clip import AdaptiveSpectralClip, SpectralClip
from tests.support.probing import play
from tests.support.tensors import clipped


def matrix(*values: float, seed: int = 0) -> torch.Tensor:
    """A (5, 4) matrix with the given singular values."""
    random = torch.Generator().manual_seed(seed)
    left, _ = torch.linalg.qr(torch.randn(5, 4, generator=random, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(4, 4, generator=random, dtype=torch.float64))
    return left @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ right.T


def test_it_is_spectral_clip_with_the_limit_of_the_average():
    """The limit is `clip_factor` times the bias-corrected average of the norm over the root of the rank."""
    rule, level = AdaptiveSpectralClip(2.0, decay=0.9, max_start=1e6), 0.0
    for step in range(30):
        grad = (1 + 0.3 * (step % 3)) * matrix(1.0, 0.8, 0.5, 0.3, seed=step)
        limit = 2.0 * level if step else 1e6
        left = clipped(rule, w=grad, b=grad[0])["w"]
        torch.testing.assert_close(left, clipped(SpectralClip(limit), w=grad)["w"], rtol=1e-9, atol=1e-12)
        gain = 0.1 / (1 - 0.9 ** (step + 1))
        level += gain * (float(grad.norm()) / 2.0 - level)


def test_a_dominant_direction_is_cut_back_and_the_others_stay():
    """After gradients with alike singular values, one of 100 is bent to the limit of about 3."""
    rule = AdaptiveSpectralClip()
    for step in range(50):
        clipped(rule, w=matrix(1.0, 1.0, 1.0, 1.0, seed=step))
    values = torch.linalg.svdvals(clipped(rule, w=matrix(100.0, 1.0, 1.0, 1.0))["w"])
    assert values[0] == pytest.approx(3.0, rel=0.02)
    assert values[1:].tolist() == pytest.approx([0.949] * 3, rel=0.01)


def test_the_first_gradient_is_bent_at_max_start():
    """It enters the average as no more than this."""
    left = play(AdaptiveSpectralClip(max_start=0.5), [1e12, *itertools.repeat(1e12, 10)])
    assert left[0] == pytest.approx(0.5)
    assert max(left) < 10


def test_one_bad_tensor_changes_no_state_and_an_excluded_one_is_left():
    """A NaN in one gradient leaves all averages unchanged, and the finite gradient is still bent."""
    rule = AdaptiveSpectralClip(exclude=("c",))
    ones = {name: torch.ones(3, 3) for name in "abc"}
    clipped(rule, **ones)
    before = deepcopy(rule.state_dict())
    left = clipped(rule, a=torch.full((3, 3), torch.nan), b=torch.full((3, 3), 100.0), c=torch.full((3, 3), 100.0))
    assert float(left["b"].norm()) < 4.0
    assert float(left["c"].norm()) == 300.0
    after = rule.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items() if isinstance(v, torch.Tensor))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clip_factor": 0}, r"AdaptiveSpectralClip\(clip_factor=0\): clip_factor must be a positive, finite number"),
        ({"max_start": float("inf")}, r"AdaptiveSpectralClip\(max_start=inf\): max_start must be a positive, finite"),
        ({"decay": 1.0}, r"AdaptiveSpectralClip\(decay=1.0\): decay must be at least 0 and below 1"),
        ({"explosion": 1}, r"AdaptiveSpectralClip\(explosion=1\): explosion must be above 1"),
        ({"iterations": 0}, r"AdaptiveSpectralClip\(iterations=0\): iterations must be at least 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        AdaptiveSpectralClip(**arguments)
