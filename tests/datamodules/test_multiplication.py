"""`MultiplicationDataModule`: the sequences of the adding problem with products as targets."""

import torch

from lightning_clip.datamodules import AddingProblemDataModule, MultiplicationDataModule


def test_the_sequences_are_those_of_the_adding_problem():
    """The same seed gives the same sequences as the adding problem; products never exceed means."""
    product, mean = (task(50, batch_size=200, seed=3) for task in (MultiplicationDataModule, AddingProblemDataModule))
    inputs, products = next(iter(product.train_dataloader()))
    others, means = next(iter(mean.train_dataloader()))
    assert torch.equal(inputs, others)
    assert not torch.equal(products, means)
    assert (products <= means + 1e-6).all()
