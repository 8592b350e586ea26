"""`ChunkPlan`: the weight of each chunk."""

from collections import namedtuple

import pytest
import torch

from lightning_clip.modules.tbptt.chunk_plan import ChunkPlan, first_sequences, split_time


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


Both = namedtuple("Both", "x y")


@pytest.mark.parametrize(("steps", "lengths"), [(3, [3, 3, 3, 1]), (5, [5, 5]), (10, [10]), (99, [10])])
def test_chunks_have_so_many_steps(steps, lengths):
    """The argument is the length of the chunks, not their number."""
    batch = torch.arange(20).reshape(2, 10)
    parts = split_time(batch, steps)
    assert [part.shape[1] for part in parts] == lengths
    assert torch.equal(torch.cat(parts, dim=1), batch)


def test_whatever_a_batch_is():
    """Sequences are split into views, everything else is in every chunk, and the structure stays."""
    x, y, rows = torch.randn(2, 10, 3), torch.randn(2, 10), torch.tensor([1, 2])
    first, second = split_time({"both": Both(x, [y]), "rows": rows, "name": "a", "none": None}, 6)
    assert isinstance(second["both"], Both)
    assert torch.equal(second["both"].x, x[:, 6:])
    assert torch.equal(second["both"].y[0], y[:, 6:])
    assert first["both"].x.data_ptr() == x.data_ptr()
    assert second["rows"] is rows
    assert (second["name"], second["none"]) == ("a", None)


def test_time_may_come_first():
    """With `time_dim=0`, tensors with one dimension are split too."""
    parts = split_time((torch.zeros(10, 2), torch.arange(10)), 4, time_dim=0)
    assert [part[1].tolist() for part in parts] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_the_first_sequences_of_a_batch():
    """The first tensor with a time dimension is found."""
    x = torch.zeros(2, 10)
    assert first_sequences({"rows": torch.zeros(2), "x": [x], "y": torch.zeros(2, 10)}) is x


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((torch.zeros(2, 10), torch.zeros(2, 9)), "tensors of 9 and 10 steps in dimension 1; .*Override tbptt_split"),
        (torch.zeros(2), "tensors of no steps in dimension 1"),
    ],
)
def test_batches_that_cannot_be_cut(batch, message):
    """A batch that cannot be split raises an error that names the method to override."""
    with pytest.raises(ValueError, match=message):
        split_time(batch, 3)
