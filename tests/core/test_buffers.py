"""`BufferKeeper`: finite copies of the buffers that a forward pass changes."""

import torch
from torch import nn

from lightning_clip.core.buffers import BufferKeeper


def test_buffers_get_the_latest_finite_values_back():
    """Only elements that became NaN or infinite change."""
    norm = nn.BatchNorm1d(2)
    keeper = BufferKeeper(norm)
    for scale in (1.0, 3.0):
        norm(scale * torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        keeper.refresh()
    good = norm.running_mean.clone()
    norm(torch.tensor([[1.0, torch.nan], [3.0, 4.0]]))
    moved = norm.running_mean[0].item()
    keeper.mend_()
    assert norm.running_mean.tolist() == [moved, good[1].item()]
    assert norm.running_var.isfinite().all()


def test_a_poisoned_buffer_never_enters_the_copies():
    """A refresh while a buffer is NaN keeps the earlier copy."""
    norm = nn.BatchNorm1d(1)
    keeper = BufferKeeper(norm)
    norm(torch.ones(2, 1))
    keeper.refresh()
    good = norm.running_mean.clone()
    norm.running_mean.fill_(torch.nan)
    keeper.refresh()
    keeper.mend_()
    assert torch.equal(norm.running_mean, good)


def test_masks_and_integers_are_left_alone():
    """A buffer that is infinite from the start stays so, and so does one that is not floating-point."""
    module = nn.Module()
    module.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    module.register_buffer("count", torch.tensor(3))
    keeper = BufferKeeper(module)
    module.mask.neg_()
    keeper.refresh()
    keeper.mend_()
    assert module.mask.tolist() == [0, torch.inf]


def test_buffers_that_appear_or_start_to_change_later_are_found():
    """Every 100 steps the keeper looks again at what there is and what changes."""
    module = nn.Module()
    module.register_buffer("still", torch.zeros(1))
    keeper = BufferKeeper(module)
    module.register_buffer("late", torch.ones(1))
    for _ in range(101):
        keeper.refresh()
        module.still += 1
    module.late.fill_(torch.nan)
    module.still.fill_(torch.nan)
    keeper.mend_()
    assert (module.late.item(), module.still.item()) == (1, 100)
