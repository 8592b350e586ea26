"""`RandomPermutationDataModule`: the first symbol is the target."""

import torch

from lightning_clip.datamodules import RandomPermutationDataModule


def test_the_target_is_the_first_symbol_and_the_others_tell_nothing():
    """The first symbol is 0 or 1, equally likely; the others are uniform in 2 to 99."""
    loader = RandomPermutationDataModule(30, n_test=2000, seed=1).test_dataloader()
    inputs, targets = (torch.cat(parts) for parts in zip(*loader, strict=True))
    assert inputs.shape == (2000, 30, 100)
    assert torch.equal(inputs.sum(-1), torch.ones(2000, 30))
    symbols = inputs.argmax(-1)
    assert torch.equal(symbols[:, 0], targets)
    assert set(targets.tolist()) == {0, 1}
    assert abs(float(targets.float().mean()) - 0.5) < 0.05
    counts = torch.bincount(symbols[:, 1:].flatten(), minlength=100)
    assert counts[:2].tolist() == [0, 0]
    assert counts[2:].min() > 0.7 * counts[2:].float().mean()
