"""`MultiplicationDataModule`: the adding problem's sequences with a product as target."""

import torch

from lightning_clip.datamodules import AddingProblemDataModule, MultiplicationDataModule


def test_the_sequences_are_those_of_the_adding_problem():
    """The same seed gives the same marks and numbers; only the target differs, and never exceeds the mean."""
    product, mean = (task(50, batch_size=200, seed=3) for task in (MultiplicationDataModule, AddingProblemDataModule))
    inputs, products = next(iter(product.train_dataloader()))
    others, means = next(iter(mean.train_dataloader()))
    assert torch.equal(inputs, others)
    assert not torch.equal(products, means)
    assert (products <= means + 1e-6).all()
