"""`Streams`: every element is read once, in its place."""

import numpy as np
import pytest
import torch

from lightning_clip.datamodules.streams.streams import Part, Streams


def streams(part, n_streams, rows=None):
    return Streams(part, n_streams=n_streams, rows=range(n_streams) if rows is None else rows)


def read_all(made, k):
    return [made.read(start, min(start + k, made.steps), nominal_steps=k) for start in range(0, made.steps, k)]


@pytest.mark.parametrize("n", [2, 9, 100, 101, 103])
@pytest.mark.parametrize("n_streams", [1, 2, 7])
@pytest.mark.parametrize("k", [1, 5, 64])
def test_every_step_is_read_once(n, n_streams, k):
    """Rows cover all steps in order for any sizes; targets are the next elements, and padding is masked."""
    chunks = read_all(streams(Part(np.arange(n), 0, n), min(n_streams, n - 1)), k)
    inputs, targets, mask = (torch.cat([chunk[i] for chunk in chunks], dim=1) for i in range(3))
    assert inputs[mask].tolist() == list(range(n - 1))
    assert targets[mask].tolist() == list(range(1, n))
    assert not inputs[~mask].any()
    assert not targets[~mask].any()
    assert mask.sum(1).max() - mask.sum(1).min() <= 1
    assert all(chunk.inputs.shape[1] <= k for chunk in chunks)
    assert [chunk.start for chunk in chunks] == list(range(0, inputs.shape[1], k))


def test_processes_share_the_streams():
    """Two processes together read what one reads with all streams, in equally many steps."""
    part = Part(np.arange(100), 0, 100)
    whole, halves = streams(part, 6), [streams(part, 6, range(3)), streams(part, 6, range(3, 6))]
    assert [half.steps for half in halves] == [whole.steps] * 2
    parts = [half.read(4, 9, nominal_steps=5) for half in halves]
    assert torch.equal(torch.cat([part.inputs for part in parts]), whole.read(4, 9, nominal_steps=5).inputs)
    assert [part.streams for part in parts] == [(0, 1, 2), (3, 4, 5)]


def test_targets_may_be_given():
    """With given targets, every element has one, including the last."""
    numbers, labels = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 4
    chunks = read_all(streams(Part(numbers, 0, 20, labels), 4), 2)
    inputs, targets = (torch.cat([chunk[i] for chunk in chunks], dim=1) for i in range(2))
    torch.testing.assert_close(inputs.reshape(20, 3), torch.from_numpy(numbers).float())
    assert targets.flatten().tolist() == labels.tolist()
    assert (inputs.dtype, targets.dtype) == (torch.float32, torch.int64)


def test_a_stretch_of_a_sequence():
    """A part is read from its first to its last element, and no further."""
    chunks = read_all(streams(Part(np.arange(100), 30, 41), 2), 64)
    assert chunks[0].inputs.tolist() == [[30, 31, 32, 33, 34], [35, 36, 37, 38, 39]]
    assert chunks[0].targets.tolist() == [[31, 32, 33, 34, 35], [36, 37, 38, 39, 40]]


def test_documents_are_told():
    """The state resets before each document, and the last element of the previous one has no target."""
    made = streams(Part(np.arange(21), 0, 21, None, [0, 3, 4, 10, 16]), 2)
    first, second = read_all(made, 5)
    assert first.resets.int().tolist() == [[1, 0, 0, 1, 1], [1, 0, 0, 0, 0]]
    assert second.resets.int().tolist() == [[0, 0, 0, 0, 0], [0, 1, 0, 0, 0]]
    assert first.reset_steps == (0, 3, 4)
    assert second.reset_steps == (1,)
    assert first.mask.int().tolist() == [[1, 1, 0, 0, 1], [1, 1, 1, 1, 1]]
    assert second.mask.int().tolist() == [[1, 1, 1, 1, 0], [0, 1, 1, 1, 1]]


def test_a_document_that_ends_with_a_chunk_has_no_target_there():
    """A document that ends with a chunk has no target at its last element."""
    first, second = read_all(streams(Part(np.arange(11), 0, 11, None, [5]), 1), 5)
    assert first.mask.int().tolist() == [[1, 1, 1, 1, 0]]
    assert second.resets.int().tolist() == [[1, 0, 0, 0, 0]]


def test_given_targets_are_not_masked_at_documents():
    """Given targets are not masked where documents start."""
    chunk = streams(Part(np.arange(10), 0, 10, np.arange(10), [5]), 1).read(0, 10, nominal_steps=10)
    assert chunk.mask.all()
    assert chunk.reset_steps == (0, 5)


def test_an_epoch_begins_with_a_reset_of_all():
    """Only the first chunk of an epoch resets all rows."""
    first, second, *_ = read_all(streams(Part(np.arange(50), 0, 50), 3), 4)
    assert first.resets[:, 0].all()
    assert first.reset_steps == (0,)
    assert second.reset_steps == ()
    assert not second.resets.any()


def test_what_is_said_of_chunks_is_passed_on():
    """Chunks store their nominal length and message scale."""
    chunk = streams(Part(np.arange(50), 0, 50), 3).read(4, 6, nominal_steps=4, message_scale=2.0)
    assert (chunk.nominal_steps, chunk.message_scale, chunk.streams) == (4, 2.0, (0, 1, 2))
