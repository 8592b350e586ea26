"""`BadStepCapture` writes bad steps, changes nothing, and never ends a training."""

import errno
import math
import random
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

from lightning_clip import BadStepCapture, ChunkedSequenceDataModule, GradientMonitor, TBPTTModule, replay
from lightning_clip.callbacks.capture import files
from tests.support.bad_sample import BAD, BATCH, Plain, TwoHeads, captured, chunked, loader, rows
from tests.support.processes import fit_in_two
from tests.support.training import Net, assert_same_weights, quiet_trainer, weights_of


def of_ours(told):
    return [one for one in told if "BadStepCapture" in str(one.message)]


def test_the_file_is_safe_to_load_and_says_where_the_step_was(tmp_path):
    """`weights_only=True` reads it; place, norms, losses and samples are those of the step."""
    monitor = GradientMonitor()
    (path,) = captured(Plain(), tmp_path, also=[monitor]).paths
    content = torch.load(path, weights_only=True)
    record = monitor.history[BAD // BATCH]
    assert (content["step"], content["epoch"], content["batch"]) == (5, 0, 5)
    assert content["norm"] == record.norm_before
    assert content["losses"] == [record.loss]
    assert content["samples"] == [list(range(5 * BATCH, 6 * BATCH))]
    assert content["batches"][0][1][BAD % BATCH].item() == 1e4
    assert len(content["norms_before"]) == 5
    assert [event.kind for event in monitor.history.events] == ["captured"]


@pytest.mark.parametrize(
    "make",
    [lambda: Plain(dropout=0.5, norm=True), TwoHeads, lambda: chunked(dropout=0.5)],
    ids=["automatic", "two optimizers", "chunks"],
)
def test_training_is_the_same_bit_for_bit(make, tmp_path):
    """Weights, buffers, random numbers and the order of shuffled data stay as they are."""
    finished = []
    for name in ("with", "without"):
        torch.manual_seed(3)
        module = make()
        shape = {"shape": (16, 2), "targets": (16, 1)} if hasattr(module, "tbptt_step") else {}
        data, folder = loader(rows(**shape), shuffle=True), tmp_path / name
        callbacks = [BadStepCapture(folder=folder)] if name == "with" else []
        quiet_trainer(callbacks=callbacks, max_epochs=2, limit_val_batches=0).fit(module, data)
        finished.append((weights_of(module), torch.get_rng_state()))
        assert type(data.batch_sampler) is torch.utils.data.BatchSampler
        assert folder.exists() is (name == "with")
    assert_same_weights(finished[0][0], finished[1][0])
    assert torch.equal(finished[0][1], finished[1][1])


def test_keep_bounds_the_number_of_files(tmp_path):
    """The first bad steps are kept, and then nothing is watched any more."""
    capture = BadStepCapture(keep=2, folder=tmp_path)
    captured(Plain(), tmp_path, capture=capture, max_epochs=4)
    assert [path.name for path in capture.paths] == ["step-000005-spike.pt", "step-000015-spike.pt"]
    assert capture._window is None


def test_max_bytes_bounds_their_size(tmp_path):
    """A step that would exceed the limit is not written; one warning names the size and the argument."""
    capture = BadStepCapture(max_bytes=2000, folder=tmp_path / "new")
    with pytest.warns(UserWarning, match=r"would take .* bytes, which exceeds max_bytes=2,000 .* set a larger") as told:
        captured(Plain(), tmp_path, capture=capture, max_epochs=3)
    assert len(of_ours(told)) == 1
    assert not capture.paths
    assert not (tmp_path / "new").exists()


def test_no_file_is_overwritten(tmp_path):
    """A file of the same name stays, and the capture gets another name."""
    taken = tmp_path / "step-000005-spike.pt"
    taken.write_text("somebody's")
    assert captured(Plain(), tmp_path).paths == [tmp_path / "step-000005-spike-1.pt"]
    assert taken.read_text() == "somebody's"


def test_a_full_disk_is_one_warning(tmp_path, monkeypatch):
    """What was written of the file is removed, and the training goes on."""

    def fails(content, file):
        file.write(b"part")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.torch, "save", fails)
    with pytest.warns(UserWarning, match="BadStepCapture writes no more bad steps.*No space left on device") as told:
        capture = captured(Plain(), tmp_path, max_epochs=3)
    assert len(of_ours(told)) == 1
    assert not capture.paths
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_one_warning(tmp_path):
    """A folder that cannot be created is reported once."""
    (tmp_path / "a").write_text("file")
    with pytest.warns(UserWarning, match="BadStepCapture writes no more bad steps"):
        captured(Plain(), tmp_path / "a", max_epochs=2)


def test_a_batch_of_another_type_is_refused_once(tmp_path):
    """The warning says what a loader may return; the training goes on."""

    class Pair:
        def __init__(self, batch):
            self.batch = batch

    class Wrapped(Plain):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch.batch, batch_idx)

    def collate(samples):
        return Pair(torch.utils.data.default_collate(samples))

    data = DataLoader(rows(), batch_size=BATCH, collate_fn=collate)
    with pytest.warns(UserWarning, match=r"contains a Pair, .* let the loader return tensors, numbers") as told:
        captured(Wrapped(), tmp_path, data, max_epochs=3)
    assert len(of_ours(told)) == 1
    assert not list(tmp_path.iterdir())


def test_only_what_is_asked_for_is_written(tmp_path):
    """`on="non-finite"` leaves a spike alone."""
    assert not captured(Plain(), tmp_path, capture=BadStepCapture("non-finite", folder=tmp_path)).paths
    data = rows(bad=math.nan)
    capture = captured(Plain(), tmp_path, loader(data), capture=BadStepCapture("non-finite", keep=1, folder=tmp_path))
    assert [path.name for path in capture.paths] == ["step-000005-non-finite.pt"]


def test_lbfgs_is_left_alone(tmp_path):
    """A step that is evaluated several times is not captured, and one warning says so."""
    with pytest.warns(UserWarning, match="LBFGS evaluates a step several times"):
        captured(Net("lbfgs"), tmp_path)


def test_the_default_folder_is_that_of_the_logs(tmp_path):
    """Without a logger, it is below `default_root_dir`."""
    capture = BadStepCapture()
    captured(Plain(), tmp_path, capture=capture, default_root_dir=tmp_path)
    assert capture.paths == [tmp_path / "bad_steps" / "step-000005-spike.pt"]


def test_a_state_that_is_carried_from_batch_to_batch_is_restored(tmp_path):
    """A chunk of a stream is taken again from the state before it."""

    class Spiking(TBPTTModule):
        def training_step(self, chunk, batch_idx):
            return super().training_step(chunk, batch_idx) * (1e3 if batch_idx == 6 else 1.0)

    def make():
        torch.manual_seed(0)
        return Spiking(1, 1, task="regression", hidden_size=3)

    data = ChunkedSequenceDataModule(torch.randn(500, 1), batch_size=4, truncated_bptt_steps=8)
    capture = BadStepCapture(folder=tmp_path, keep=1)
    quiet_trainer(callbacks=[capture], max_epochs=1, limit_val_batches=0).fit(make(), data)
    result = replay(capture.paths[0], make())
    assert result.capture.batch == 6
    assert result.is_exact, result.difference
    assert len(result.samples) == 4


def test_a_resumed_run_keeps_its_count_and_its_norms(tmp_path):
    """After a resume, the limit and the detector go on where they were."""

    def make():
        return BadStepCapture(keep=2, folder=tmp_path)

    def fit(capture, epochs, **options):
        trainer = quiet_trainer(callbacks=[capture], max_epochs=epochs, limit_val_batches=0)
        trainer.fit(Plain(), loader(), **options)
        return trainer

    fit(make(), 1).save_checkpoint(tmp_path / "a.ckpt")
    resumed = make()
    fit(resumed, 4, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert [path.name for path in resumed.paths] == ["step-000015-spike.pt"]
    assert len(torch.load(resumed.paths[0], weights_only=True)["norms_before"]) == 15


class OneRanksBatch(Net):
    """Multiplies the loss of one rank at one batch."""

    def training_step(self, batch, batch_idx):
        bad = batch_idx == 4 and self.global_rank == 1
        return super().training_step(batch, batch_idx) * (1e4 if bad else 1.0)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
def test_the_rank_that_saw_it_and_rank_zero_write(tmp_path):
    """The batch of the bad rank is in its own file."""
    capture = BadStepCapture(folder=tmp_path / "bad")
    fit_in_two(OneRanksBatch("adam"), [capture], tmp_path)
    found = sorted((tmp_path / "bad").iterdir())
    assert [path.name for path in found] == ["step-000004-spike-rank1.pt", "step-000004-spike.pt"]
    losses = [torch.load(path, weights_only=True)["losses"][0] for path in found]
    assert losses[0] > 100 * losses[1]


@pytest.mark.parametrize("options", [{"num_workers": 2, "persistent_workers": True}, {"num_workers": 0}], ids=str)
def test_samples_are_those_of_each_batch(options, tmp_path):
    """The indices that were read along are those of the rows, epoch after epoch."""

    class Checks(pl.Callback):
        checked = 0

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            torch.testing.assert_close(batch[0], rows().tensors[0][capture._window.samples[-1]])
            Checks.checked += 1

    random.seed(0)
    capture = BadStepCapture(folder=tmp_path, keep=9)
    quiet_trainer(callbacks=[capture, Checks()], max_epochs=2, limit_val_batches=0).fit(
        Plain(), loader(shuffle=True, **options)
    )
    assert Checks.checked == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": "spikes"}, r"BadStepCapture\(on='spikes'\): on must be one of 'spike', 'non-finite'; did you mean"),
        ({"on": ()}, r"BadStepCapture\(on=\(\)\): name at least one kind of bad step"),
        ({"keep": 0}, r"BadStepCapture\(keep=0\): keep must be at least 1"),
        ({"max_bytes": 0.5}, r"BadStepCapture\(max_bytes=0.5\): max_bytes must be a whole number"),
        ({"folder": 3}, r"BadStepCapture\(folder=3\): folder must be the path"),
        ({"detector": 3}, r"BadStepCapture\(detector=3\)"),
    ],
    ids=str,
)
def test_bad_arguments(options, message):
    """Each is one line that quotes the call."""
    with pytest.raises(ValueError, match=message):
        BadStepCapture(**options)


def test_the_folder_may_be_a_path():
    """Strings and paths are both fine."""
    assert BadStepCapture(folder=Path("a")).folder == Path("a")
