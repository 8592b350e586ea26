"""`MemorizationDataModule`: pattern, blanks, trigger, and the pattern again."""

import itertools

import pytest
import torch

from lightning_clip.datamodules import MemorizationDataModule


def assert_built_by_hand(inputs: torch.Tensor, targets: torch.Tensor, length: int, n_values: int, n_positions: int):
    blank, trigger = n_values, n_values + 1
    for sequence, target in zip(inputs.argmax(-1).tolist(), targets.tolist(), strict=True):
        pattern = sequence[:n_positions]
        assert all(0 <= symbol < n_values for symbol in pattern)
        assert sequence[n_positions:] == [blank] * length + [trigger] + [blank] * (n_positions - 1)
        assert target == [blank] * (length + n_positions) + pattern


@pytest.mark.parametrize(("n_values", "n_positions"), [(2, 5), (3, 2), (1, 1)])
def test_every_batch_has_all_patterns(n_values, n_positions):
    """Every batch holds each pattern once, in training and evaluation, whatever the batch size."""
    data = MemorizationDataModule(7, n_values=n_values, n_positions=n_positions, batches_per_epoch=2)
    batches = [*data.train_dataloader(), *data.val_dataloader(), *data.test_dataloader()]
    assert len(batches) == 4
    for inputs, targets in batches:
        assert inputs.shape == (n_values**n_positions, 7 + 2 * n_positions, n_values + 2)
        assert_built_by_hand(inputs, targets, 7, n_values, n_positions)
        patterns = {tuple(row) for row in inputs.argmax(-1)[:, :n_positions].tolist()}
        assert patterns == set(itertools.product(range(n_values), repeat=n_positions))


def test_patterns_are_drawn_where_there_are_too_many():
    """In the 20-bit problem, patterns are drawn with every value at every position."""
    data = MemorizationDataModule(30, n_values=5, n_positions=10, all_patterns=False, n_test=300, seed=0)
    ((inputs, targets),) = data.test_dataloader()
    assert inputs.shape == (300, 50, 7)
    assert_built_by_hand(inputs, targets, 30, 5, 10)
    pattern = inputs.argmax(-1)[:, :10]
    for position in range(10):
        assert set(pattern[:, position].tolist()) == {0, 1, 2, 3, 4}
    assert next(iter(data.train_dataloader()))[0].shape == (20, 50, 7)
