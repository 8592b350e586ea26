"""`GradientClamp`: how it clamps a gradient, and what it counts."""

import pickle

import pytest
import torch

from lightning_clip.modules.layers.gradient_clamp import GradientClamp


def derivative(clamp: GradientClamp, arriving: torch.Tensor) -> torch.Tensor:
    """The gradient after the clamp, given the one that arrives."""
    x = torch.zeros_like(arriving, requires_grad=True)
    clamp(x * 1.0).backward(arriving)
    return x.grad


def test_the_derivative_is_clamped_and_the_value_is_not():
    """Each gradient element is clamped to [-bound, bound]; the forward pass returns the same tensor."""
    clamp = GradientClamp(1.0)
    x = torch.tensor([5.0, -7.0], requires_grad=True) * 1.0
    assert clamp(x) is x
    arriving = torch.tensor([0.5, -3.0, 1.0, float("inf"), -1.0001])
    assert derivative(clamp, arriving).tolist() == [0.5, -1.0, 1.0, 1.0, -1.0]


def test_without_a_bound_nothing_is_done():
    """Without a bound, nothing is clamped or counted."""
    clamp = GradientClamp(None)
    assert derivative(clamp, torch.tensor([1e9])).tolist() == [1e9]
    assert clamp.clamped_fraction == 0.0


def test_the_share_is_of_all_elements_since_the_reset():
    """The fraction covers several backward passes; elements at the bound and NaN are not clamped."""
    clamp = GradientClamp(1.0)
    assert clamp.clamped_fraction == 0.0
    derivative(clamp, torch.tensor([2.0, 1.0, -1.0, 0.0]))
    derivative(clamp, torch.tensor([[-3.0, float("inf")], [float("nan"), 0.1]]))
    assert clamp.clamped_fraction == 3 / 8
    clamp.reset()
    assert clamp.clamped_fraction == 0.0
    derivative(clamp, torch.tensor([2.0]))
    assert clamp.clamped_fraction == 1.0


def test_nan_stays():
    """A NaN gradient stays NaN."""
    assert derivative(GradientClamp(1.0), torch.tensor([float("nan")])).isnan().all()


@pytest.mark.parametrize("scale", [1024.0, torch.tensor(1024.0)], ids=["number", "tensor"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_bound_follows_the_scale_of_the_loss(scale, dtype):
    """A gradient scaled by 1,024 is clamped at 1,024 times the bound, in its own dtype."""
    clamp = GradientClamp(0.5)
    plain = derivative(clamp, torch.tensor([0.25, 4.0], dtype=dtype))
    clamp.loss_scale = scale
    scaled = derivative(clamp, torch.tensor([0.25, 4.0], dtype=dtype) * 1024)
    assert scaled.dtype == dtype
    assert torch.equal(scaled, plain * 1024)
    assert clamp.clamped_fraction == 0.5


def test_a_tensor_without_gradient_is_let_through():
    """A tensor that needs no gradient is returned unchanged."""
    x = torch.ones(2)
    assert GradientClamp(1.0)(x) is x


def test_it_can_be_sent_to_another_process():
    """It pickles with its counts."""
    clamp = GradientClamp(1.0)
    derivative(clamp, torch.tensor([2.0, 0.0]))
    twin = pickle.loads(pickle.dumps(clamp))
    assert (twin.bound, twin.clamped_fraction) == (1.0, 0.5)
