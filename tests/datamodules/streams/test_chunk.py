"""`Chunk`: a tuple of tensors and Python numbers."""

import pickle

import torch
from lightning.fabric.utilities.apply_func import move_data_to_device

from lightning_clip import Chunk


def test_it_stays_a_chunk_on_its_way_to_the_device():
    """Lightning moves its tensors and leaves the rest unchanged."""
    chunk = Chunk(torch.zeros(2, 3), torch.ones(2, 3), streams=(4, 5), start=6, nominal_steps=3, reset_steps=(0, 2))
    moved = move_data_to_device(chunk, torch.device("meta"))
    assert isinstance(moved, Chunk)
    assert moved.inputs.device.type == moved.targets.device.type == "meta"
    assert moved[2:] == chunk[2:]


def test_it_can_be_sent_to_another_process():
    """It can be pickled, as by the workers of a loader."""
    chunk = Chunk(torch.zeros(2, 3), torch.ones(2, 3), start=6)
    again = pickle.loads(pickle.dumps(chunk))
    assert torch.equal(again.targets, chunk.targets)
    assert again.start == 6


def test_it_begins_with_inputs_and_targets():
    """It starts with `(inputs, targets)`, for code that unpacks batches."""
    inputs, targets, *rest = Chunk(torch.zeros(2, 3), torch.ones(2, 3))
    assert not inputs.any()
    assert targets.all()
    assert rest == [None, None, (), None, None, None, 1.0]
