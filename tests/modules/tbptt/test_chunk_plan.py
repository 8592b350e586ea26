"""`ChunkPlan`: the weight of each chunk."""

import torch

from lightning_clip.modules.tbptt.chunk_plan import ChunkPlan


def plan(*weights):
    return ChunkPlan([f"chunk {number}" for number in range(len(weights))], weights, torch.device("cpu"))


def test_chunks_count_relative_to_the_fullest():
    """Weights are relative to the largest, which is exactly 1."""
    assert plan(8, 8, 2).shares.tolist() == [1.0, 1.0, 0.25]
    assert plan(3).shares.tolist() == [1.0]
    assert plan(torch.tensor(1), torch.tensor(4)).shares.tolist() == [0.25, 1.0]


def test_no_weight_at_all():
    """Weights of zero do not divide by zero."""
    made = plan(torch.tensor(0), torch.tensor(0))
    assert made.shares.tolist() == [0.0, 0.0]
    assert made.last == 1
    assert plan(0, 0).last == -1


def test_a_number_0_says_that_there_is_no_loss():
    """The Python number 0 means that there is no loss; a tensor does not, because reading it would wait."""
    made = plan(0, 5, torch.tensor(0), 0)
    assert made.has_loss == [False, True, True, False]
    assert made.last == 2
    assert made.total == 5


def test_missing_chunks_repeat_the_last():
    """Added chunks repeat the last one with weight 0 and take part in every backward pass."""
    made = plan(4, 2)
    made.add_missing(2)
    assert made.chunks == ["chunk 0", "chunk 1", "chunk 1", "chunk 1"]
    assert made.shares.tolist() == [1.0, 0.5, 0.0, 0.0]
    assert made.has_loss == [True] * 4
    assert (made.last, made.total) == (3, 6)
