"""Truncated backpropagation on two processes, with both mixins."""

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn
from torch.utils.data import DataLoader

from lightning_clip import GradientClipping, NormClip
from lightning_clip.datamodules import NormalLengths
from lightning_clip.modules.tbptt.hiddens import map_hiddens
from tests.support.streaming import Splitting, Streaming, fit, sequences, streams_of
from tests.support.training import assert_same_weights

TWO = {"devices": 2, "strategy": "ddp_fork"}


class Diary(Callback):
    """Each process writes down what it sees."""

    def __init__(self, directory, save_at=None):
        self.directory, self.save_at, self.seen = directory, save_at, []

    def on_after_backward(self, trainer, pl_module):
        self.seen.append("backward")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if isinstance(pl_module, Streaming):
            after = pl_module._carried[True]._after
            hiddens = map_hiddens(torch.clone, after.hiddens)
            self.seen.append((batch.streams, batch.start, after.streams, hiddens, float(pl_module.losses[-1])))
        if trainer.global_step == self.save_at:
            trainer.save_checkpoint(self.directory / "mid.ckpt")

    def on_train_end(self, trainer, pl_module):
        weights = {name: value.detach().clone() for name, value in pl_module.state_dict().items()}
        torch.save((self.seen, weights), self.directory / f"{trainer.global_rank}.pt")

    def read(self):
        """What each of the two processes has written."""
        return [torch.load(self.directory / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


class OwnSeeds(Callback):
    """Sets a different global seed in each process."""

    def setup(self, trainer, pl_module, stage):
        torch.manual_seed(3 + trainer.global_rank)


def notes(seen):
    return [note for note in seen if note != "backward"]


@pytest.mark.parametrize("lengths", [None, NormalLengths(3.0, min_steps=2, half_fraction=0.3)])
def test_each_process_has_its_own_streams(tmp_path, lengths):
    """Processes have equally many chunks but different streams and states; together they equal one process."""
    diary, together, alone = Diary(tmp_path), Streaming(), Streaming()
    fit(together, streams_of(303, seed=None, chunk_lengths=lengths), callbacks=[diary, OwnSeeds()], **TWO)
    torch.manual_seed(3)
    fit(alone, streams_of(303, seed=None, chunk_lengths=lengths, batch_size=8))
    (first, weights), (second, other_weights) = diary.read()
    assert first.count("backward") == second.count("backward") == len(notes(first)) == len(alone.losses)
    for ours, theirs in zip(notes(first), notes(second), strict=True):
        assert ours[0] == ours[2] == (0, 1, 2, 3)
        assert theirs[0] == theirs[2] == (4, 5, 6, 7)
        assert ours[1] == theirs[1]
        assert not torch.equal(ours[3][0], theirs[3][0])
        assert ours[4] != theirs[4]
    assert_same_weights(weights, other_weights)
    means = [(ours[4] + theirs[4]) / 2 for ours, theirs in zip(notes(first), notes(second), strict=True)]
    torch.testing.assert_close(torch.tensor(means), torch.stack(alone.losses), rtol=1e-4, atol=1e-5)


def test_a_buffer_would_lose_the_state_of_other_processes(tmp_path):
    """If the state were a buffer, the second process would read that of the first."""

    class Buffered(Streaming):
        def __init__(self):
            super().__init__("rnn", depth=1)
            self.register_buffer("state", torch.zeros(1, 4, 5), persistent=False)

        def training_step(self, chunk, batch_idx):
            self.losses.append((self.state - self.before).abs().sum() if batch_idx else torch.zeros(()))
            loss = super().training_step(chunk, batch_idx)
            self.losses.pop()
            self.state.copy_(self._carried[True]._after.hiddens)
            self.before = self.state.clone()
            return loss

    diary = Diary(tmp_path)
    fit(Buffered(), streams_of(), callbacks=[diary], **TWO)
    lost = [[note[4] > 0 for note in notes(seen)] for seen, _ in diary.read()]
    assert not any(lost[0])
    assert any(lost[1])


def test_a_checkpoint_holds_the_streams_of_all_processes(tmp_path):
    """Two processes resume within an epoch bit for bit, and so does one process with all streams."""
    full, resumed = Diary(tmp_path, save_at=3), Diary(tmp_path / "resumed")
    (tmp_path / "resumed").mkdir()
    fit(Streaming(), streams_of(303), callbacks=[full], max_epochs=2, **TWO)
    path = tmp_path / "mid.ckpt"
    assert torch.load(path, weights_only=True)["carried_hiddens"]["streams"] == list(range(8))
    fit(Streaming(), streams_of(303), callbacks=[resumed], max_epochs=2, ckpt_path=path, **TWO)
    for (seen, weights), (again, same_weights) in zip(full.read(), resumed.read(), strict=True):
        assert_same_weights(weights, same_weights)
        assert [note[:2] + note[4:] for note in notes(seen)[3:]] == [note[:2] + note[4:] for note in notes(again)]
    alone = Streaming()
    fit(alone, streams_of(303, batch_size=8), max_epochs=2, ckpt_path=path)
    first, second = (notes(seen) for seen, _ in full.read())
    means = [(ours[4] + theirs[4]) / 2 for ours, theirs in zip(first[3:], second[3:], strict=True)]
    torch.testing.assert_close(torch.tensor(means), torch.stack(alone.losses), rtol=1e-4, atol=1e-5)


def test_the_number_of_processes_has_to_stay(tmp_path):
    """Resuming within an epoch with a different number of streams raises an error."""
    fit(Streaming(), streams_of(303), callbacks=[Diary(tmp_path, save_at=3)], **TWO)
    with pytest.raises(ValueError, match=r"'n_streams': 8.*'n_streams': 4.*Resume with the same .* processes"):
        fit(Streaming(), streams_of(303), ckpt_path=tmp_path / "mid.ckpt")


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_sequences_of_different_length_do_not_deadlock(tmp_path, accumulate):
    """All processes make as many backward passes as the longest batch needs, and replicas stay equal."""
    batches = [sequences(2, steps, seed=steps) for steps in (30, 12, 6, 24)]
    loader = DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)
    diary, clip = Diary(tmp_path), GradientClipping(NormClip(0.5))
    model = Splitting(truncated_bptt_steps=6, accumulate_chunks=accumulate)
    fit(model, loader, callbacks=[diary, clip], **TWO)
    (first, weights), (second, other_weights) = diary.read()
    assert first == second == ["backward"] * (5 + 4)
    assert_same_weights(weights, other_weights)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_are_one_with_all_rows(tmp_path, accumulate):
    """Gradients are averaged over processes at each step, and not in between."""
    options = {"truncated_bptt_steps": 8, "accumulate_chunks": accumulate}
    together, alone, diary = Splitting(**options), Splitting(**options), Diary(tmp_path)
    inputs, targets = sequences(8, 30)
    halves = [(inputs[rows], targets[rows]) for rows in (slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8))]
    whole = [(inputs[:4], targets[:4]), (inputs[4:], targets[4:])]
    fit(together, DataLoader(halves, batch_size=None, collate_fn=lambda batch: batch), callbacks=[diary], **TWO)
    fit(alone, DataLoader(whole, batch_size=None, collate_fn=lambda batch: batch))
    for _, weights in diary.read():
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-6)


def test_both_designs_are_wrapped_whole():
    """The mixins add no parameters that DDP would report as unused."""
    for model in (Streaming(), Splitting(truncated_bptt_steps=3)):
        assert all(isinstance(param, nn.Parameter) for param in model.parameters())
        assert {name.partition(".")[0] for name, _ in model.named_parameters()} == {"rnn", "head"}
