"""`element_losses` and `masked_sum`: one loss for each target, and which of them count."""

import pytest
import torch
from torch.nn import functional as F

from lightning_clip.modules.element_losses import element_losses, masked_sum


@pytest.mark.parametrize("shape", [(5,), (2, 5)])
@pytest.mark.parametrize("task", ["classification", "next_token"])
def test_classes(task, shape):
    """Cross-entropy in nats, in the shape of the targets."""
    outputs, targets = torch.randn(*shape, 4), torch.randint(4, shape)
    losses = element_losses(task, outputs, targets)
    assert losses.shape == shape
    expected = -outputs.log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    torch.testing.assert_close(losses, expected)


@pytest.mark.parametrize(("outputs", "targets"), [((2, 5, 3), (2, 5, 3)), ((2, 5, 1), (2, 5)), ((2, 1), (2,))])
def test_numbers(outputs, targets):
    """Squared error, the mean over the numbers of a target; one number needs no dimension of its own."""
    y, t = torch.randn(outputs), torch.randn(targets)
    losses = element_losses("regression", y, t)
    assert losses.shape == outputs[:-1]
    torch.testing.assert_close(losses, (y - t.reshape(outputs)).square().mean(-1))
    torch.testing.assert_close(losses.mean(), F.mse_loss(y, t.reshape(outputs)))


def test_half_precision_is_summed_in_single():
    """Otherwise a long sum stops growing."""
    losses = element_losses("regression", torch.ones(1, 5000, 1, dtype=torch.bfloat16), torch.zeros(1, 5000, 1))
    assert masked_sum(losses, None)[0] == 5000


def test_what_is_masked_may_be_anything():
    """Its loss and its gradient are 0."""
    losses = torch.tensor([1.0, float("nan"), float("inf"), 2.0], requires_grad=True)
    total, count = masked_sum(losses, torch.tensor([True, False, False, True]))
    total.backward()
    assert (total.item(), count.item()) == (3.0, 2)
    assert losses.grad.tolist() == [1, 0, 0, 1]


def test_without_a_mask_all_count():
    """And their number is known without reading the device."""
    total, count = masked_sum(torch.ones(2, 3), None)
    assert (total.item(), count) == (6.0, 6)
    assert type(count) is int
