"""The memory of truncated backpropagation: the bytes that autograd saves."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.data import DataLoader

from lightning_clip import ChunkedSequenceDataModule, TBPTTModule, TBPTTSequenceModule
from lightning_clip.functional.saved_bytes import SavedBytes
from tests.support.streaming import Splitting, Streaming, fit, sequences, series

HIDDEN, FEATURES, ROWS = 16, 2, 4
cells = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])


def bytes_of_chunks(cell, k, steps):
    """With `StatefulMixin`, the bytes of each full chunk of streams with the given number of steps."""
    data = ChunkedSequenceDataModule(
        series(steps * ROWS + 1, FEATURES), truncated_bptt_steps=k, batch_size=ROWS, val_fraction=0, test_fraction=0
    )
    model, sizes = Streaming(cell, features=FEATURES, hidden=HIDDEN, depth=1), []
    for chunk in data.train_dataloader():
        with SavedBytes(*model.parameters(), chunk.inputs, chunk.targets) as saved:
            torch.nn.functional.mse_loss(
                model.head(model.run_chunk(model.rnn, chunk.inputs, chunk)), chunk.targets
            ).backward()
        if chunk.inputs.shape[1] == k:
            sizes.append(saved.total)
    return sizes


def bytes_of_split(cell, k, steps):
    """With `TruncatedBPTTMixin`, the bytes of each chunk of a batch with the given number of steps."""
    inputs, targets = sequences(ROWS, steps)
    model, sizes = Splitting(cell, hidden=HIDDEN, truncated_bptt_steps=k), []
    hiddens = None
    for chunk in model.tbptt_split((inputs, targets)):
        with SavedBytes(*model.parameters(), inputs, targets) as saved:
            loss, hiddens = model.tbptt_step(chunk, hiddens)
            loss.backward()
        hiddens = tuple(h.detach() for h in hiddens) if cell == "lstm" else hiddens.detach()
        sizes.append(saved.total)
    return sizes


@cells
@pytest.mark.parametrize("measure", [bytes_of_chunks, bytes_of_split])
def test_memory_does_not_depend_on_the_length_of_the_sequence(cell, measure):
    """Each chunk but the first, which has no earlier state, saves the same for sequences of any length."""
    short, long = measure(cell, 8, 32), measure(cell, 8, 256)
    assert len(long) == 32
    assert set(short[1:]) == set(long[1:])
    assert len(set(long[1:])) == 1


@cells
@pytest.mark.parametrize("measure", [bytes_of_chunks, bytes_of_split])
def test_memory_is_affine_in_the_length_of_a_chunk(cell, measure):
    """Memory is exactly `a + b k` from 16 steps on; the CPU's LSTM uses other code for fewer steps."""
    k = (16, 32, 64, 128)
    sizes = [measure(cell, steps, 256)[1] for steps in k]
    per_step = (sizes[1] - sizes[0]) / (k[1] - k[0])
    assert per_step > 0
    assert [size - sizes[0] for size in sizes] == [per_step * (steps - k[0]) for steps in k]


class Ticket:
    """Stands for a tensor for as long as autograd keeps it."""

    live: dict = {}  # noqa: RUF012  (shared by the measured run)

    def __init__(self, tensor):
        self.tensor = tensor
        self.live[id(self)] = tensor.untyped_storage()

    def __del__(self):
        self.live.pop(id(self), None)


def peak_while_training(steps, **options):
    """The most bytes that autograd keeps at once while training on one batch with the given number of steps."""
    model = Splitting("gru", hidden=HIDDEN, truncated_bptt_steps=8, **options)
    inputs, targets = sequences(ROWS, steps)
    known, sizes = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), inputs, targets)}, [0]

    def pack(tensor):
        ticket = Ticket(tensor)
        kept = {s.data_ptr(): s.nbytes() for s in Ticket.live.values() if s.data_ptr() not in known}
        sizes.append(sum(kept.values()))
        return ticket

    loader = DataLoader([(inputs, targets)], batch_size=None, collate_fn=lambda batch: batch)
    with saved_tensors_hooks(pack, lambda ticket: ticket.tensor):
        fit(model, loader)
    return max(sizes)


def test_a_training_keeps_one_chunk_at_a_time():
    """Training keeps one chunk, or `backward_steps`, at a time, plus one number per chunk for its weight."""
    one = peak_while_training(64)
    more_weights = 4 * (512 - 64) // 8
    assert peak_while_training(512) == one + more_weights
    assert peak_while_training(512, accumulate_chunks=8) == one + more_weights
    assert 1.5 * one < peak_while_training(512, backward_steps=16) < 2.5 * one


@cells
def test_the_ready_made_modules_keep_no_more(cell):
    """Chunks of the ready-made modules save the same for sequences of any length."""
    sizes = []
    for steps in (32, 256):
        data = ChunkedSequenceDataModule(
            series(steps * ROWS + 1, 1), truncated_bptt_steps=8, batch_size=ROWS, val_fraction=0, test_fraction=0
        )
        stream = TBPTTModule(1, 1, cell=cell, task="regression", hidden_size=HIDDEN)
        stream.log_step = lambda name, value: None
        chunks = list(data.train_dataloader())[:3]
        for chunk in chunks:
            with SavedBytes(*stream.parameters(), *(value for value in chunk if torch.is_tensor(value))) as saved:
                stream.training_step(chunk, 0).backward()
        sequence = TBPTTSequenceModule(2, 1, cell=cell, task="regression", many_to_many=True, truncated_bptt_steps=8)
        batch = sequences(ROWS, steps)
        part = sequence.tbptt_split(batch)[0]
        with SavedBytes(*sequence.parameters(), *batch) as other:
            sequence.tbptt_step(part, None)[0].backward()
        sizes.append((saved.total, other.total))
    assert sizes[0] == sizes[1]
