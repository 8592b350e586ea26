"""`summed_loss`: the loss of each kind of target, and masks."""

import pytest
import torch
from torch.nn import functional as F

from lightning_clip.modules.tbptt.losses import WeightedMean, summed_loss
from tests.support.ranks import on_two_ranks


@pytest.mark.parametrize("shape", [(5,), (2, 5)])
@pytest.mark.parametrize("task", ["classification", "next_token"])
def test_classes(task, shape):
    """Classes give cross-entropy in nats."""
    outputs, targets = torch.randn(*shape, 4), torch.randint(4, shape)
    total, count = summed_loss(task, outputs, targets)
    torch.testing.assert_close(total, -outputs.log_softmax(-1).gather(-1, targets[..., None]).sum())
    assert count == targets.numel()


@pytest.mark.parametrize(("outputs", "targets"), [((2, 5, 3), (2, 5, 3)), ((2, 5, 1), (2, 5)), ((2, 1), (2,))])
@pytest.mark.parametrize("masked", [True, False])
def test_numbers(outputs, targets, masked):
    """Numbers give the squared error averaged over features; a single feature needs no dimension."""
    y, t = torch.randn(outputs), torch.randn(targets)
    mask = torch.ones(outputs[:-1], dtype=torch.bool) if masked else None
    total, count = summed_loss("regression", y, t, mask)
    torch.testing.assert_close(total / count, F.mse_loss(y, t.reshape(outputs)))


def test_half_precision_is_summed_in_single():
    """Half precision is summed in float32, in which a long sum does not saturate."""
    ones = torch.ones(1, 5000, 1, dtype=torch.bfloat16)
    assert summed_loss("regression", ones, torch.zeros(1, 5000, 1))[0] == 5000


def test_targets_that_do_not_count_may_be_anything():
    """Masked targets may be NaN or no class at all; their loss and gradient are 0."""
    mask = torch.tensor([[True, False, False, True]])
    outputs = torch.ones(1, 4, 1, requires_grad=True)
    total, count = summed_loss("regression", outputs, torch.tensor([[0.0, float("nan"), float("inf"), 3.0]]), mask)
    total.backward()
    assert (total.item(), count.item()) == (5.0, 2)
    assert outputs.grad.flatten().tolist() == [2, 0, 0, -4]
    scores = torch.randn(1, 4, 3, requires_grad=True)
    total, _ = summed_loss("next_token", scores, torch.tensor([[2, -7, 99, 0]]), mask)
    total.backward()
    assert scores.grad[0].any(dim=1).tolist() == [True, False, False, True]


def test_without_a_mask_the_number_is_known():
    """Without a mask, the number of targets is known without reading the device."""
    total, count = summed_loss("regression", torch.ones(2, 3, 1, device="meta"), torch.ones(2, 3, device="meta"))
    assert total.shape == ()
    assert count == 6


def test_it_is_the_mean_over_all_targets():
    """Parts of different sizes give the mean over all targets, not the mean of means."""
    values, mean = torch.randn(100), WeightedMean()
    for part in values.split([60, 39, 1]):
        mean.update(part.sum(), len(part))
    torch.testing.assert_close(mean.compute(), values.mean())


def test_values_that_are_not_finite_stay():
    """A single NaN makes the mean NaN."""
    mean = WeightedMean()
    mean.update(torch.tensor(1.0), torch.tensor(3))
    mean.update(torch.tensor(float("nan")), 1)
    assert mean.compute().isnan()


def test_it_keeps_no_graph():
    """The metric detaches its inputs."""
    mean = WeightedMean()
    mean.update(torch.ones(1, requires_grad=True).sum(), 1)
    assert not mean.total.requires_grad


def test_it_reads_no_device():
    """Updates work on the meta device, where any read raises."""
    mean = WeightedMean().to("meta")
    mean.update(torch.ones((), device="meta"), torch.ones((), device="meta"))


def test_nothing_was_measured():
    """Without targets the mean is 0, also after a reset."""
    mean = WeightedMean()
    mean.update(torch.tensor(4.0), 2)
    mean.reset()
    mean.update(torch.tensor(0.0), 0)
    assert mean.compute() == 0


def test_two_processes_count_together(tmp_path):
    """Two processes are weighted by their numbers of targets."""

    def measured(rank):
        mean = WeightedMean()
        mean.update(torch.tensor([3.0, 9.0][rank]), [1, 3][rank])
        assert mean.compute() == 3.0

    on_two_ranks(measured, tmp_path)
