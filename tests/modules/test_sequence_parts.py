"""How `TBPTTSequenceModule` splits a batch of whole sequences into chunks."""

import torch

from lightning_clip.modules.tbptt_sequence import sequence_parts

X = torch.randn(3, 10, 2)


def parts(*batch, every_step):
    return sequence_parts(batch, 4, every_step=every_step)


def test_a_target_at_every_step():
    """Targets at every step are split along with the inputs."""
    targets = torch.arange(30).reshape(3, 10)
    made = parts(X, targets, every_step=True)
    assert torch.equal(torch.cat([part.inputs for part in made], 1), X)
    assert torch.equal(torch.cat([part.targets for part in made], 1), targets)
    assert [(part.mask, part.lengths) for part in made] == [(None, None)] * 3


def test_a_mask_goes_with_its_targets():
    """The mask is split along with the targets."""
    mask = torch.rand(3, 10) < 0.5
    made = parts(X, torch.zeros(3, 10, 1), mask, every_step=True)
    assert torch.equal(torch.cat([part.mask for part in made], 1), mask)
    assert made[0].lengths is None


def test_a_target_after_the_last_step():
    """A target for the whole sequence belongs to the last chunk."""
    targets = torch.tensor([1, 2, 3])
    made = parts(X, targets, every_step=False)
    assert [part.targets is None for part in made] == [True, True, False]
    assert made[2].targets is targets


def test_lengths_mask_the_padding():
    """Lengths mask the padding, and each chunk has the number of real steps of each row."""
    made = parts(X, torch.zeros(3, 10), torch.tensor([10, 5, 4]), every_step=True)
    assert [part.lengths.tolist() for part in made] == [[4, 4, 4], [4, 1, 0], [2, 0, 0]]
    assert [part.mask.sum(1).tolist() for part in made] == [[4, 4, 4], [4, 1, 0], [2, 0, 0]]


def test_lengths_say_where_a_sequence_ends():
    """A sequence's target belongs to the chunk in which it ends; chunks in which none ends have no target."""
    targets = torch.tensor([1, 2, 3])
    made = parts(X, targets, torch.tensor([10, 4, 3]), every_step=False)
    assert [part.targets is None for part in made] == [False, True, False]
    assert made[0].mask.tolist() == [False, True, True]
    assert made[2].mask.tolist() == [True, False, False]
