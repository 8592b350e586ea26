"""`SavedBytes`: the memory that autograd keeps."""

import torch

from lightning_clip.functional.saved_bytes import SavedBytes


def test_each_storage_counts_once_and_as_a_whole():
    """A tensor that is saved twice, once in part, counts its bytes once."""
    weight = torch.ones(4, 8, requires_grad=True)
    with SavedBytes(weight) as saved:
        made = weight * 2
        (made.square().sum() + made[0].square().sum()).backward()
    assert saved.total == 4 * 8 * 4


def test_what_is_known_does_not_count():
    """Parameters, inputs and views of an input do not count."""
    layer, inputs = torch.nn.Linear(3, 3), torch.randn(10, 3)
    with SavedBytes(*layer.parameters(), inputs) as saved:
        layer(inputs[:5]).sum()
    assert saved.total == 0
    with SavedBytes(*layer.parameters()) as saved:
        layer(inputs[:5]).sum()
    assert saved.total == 10 * 3 * 4


def test_what_is_freed_is_not_mistaken_for_another():
    """A freed tensor keeps its storage address, so that the next storage counts too."""
    weight = torch.ones(1000, requires_grad=True)
    with SavedBytes(weight) as saved:
        for _ in range(5):
            (weight * 2).square().sum().backward()
    assert saved.total == 5 * 4000


def test_outside_the_block_nothing_counts():
    """The count does not change after the block."""
    weight = torch.ones(2, requires_grad=True)
    with SavedBytes(weight) as saved:
        (weight * 2).square().sum()
    (weight * 3).square().sum()
    assert saved.total == 8
