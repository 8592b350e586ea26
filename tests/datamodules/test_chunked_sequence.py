"""`ChunkedSequenceDataModule`: arrays, tensors and files as streams."""

import sys

import numpy as np
import pytest
import torch
from lightning.pytorch.cli import LightningCLI

from lightning_clip import ChunkedSequenceDataModule
from lightning_clip.datamodules import NormalLengths
from tests.support.streaming import Streaming, fit

WHOLE = {"val_fraction": 0, "test_fraction": 0, "truncated_bptt_steps": 5, "batch_size": 3}


def inputs_of(data):
    return torch.cat([chunk.inputs for chunk in data.train_dataloader()], dim=1)


@pytest.mark.parametrize("shape", [(100,), (100, 1), (100, 3)])
def test_arrays_tensors_and_files_are_the_same(tmp_path, shape):
    """Arrays, tensors and files give the same inputs: symbols as int64, numbers as float32."""
    array = np.random.default_rng(0).integers(0, 9, shape)
    array = array if len(shape) == 1 else array / 10
    np.save(tmp_path / "sequence.npy", array)
    sources = [array, torch.from_numpy(array), str(tmp_path / "sequence.npy"), tmp_path / "sequence.npy"]
    made = [inputs_of(ChunkedSequenceDataModule(source, **WHOLE)) for source in sources]
    assert all(torch.equal(one, made[0]) for one in made)
    assert made[0].dtype == (torch.int64 if len(shape) == 1 else torch.float32)


def test_a_file_is_mapped_not_loaded(tmp_path):
    """A chunk of a sparse 1 GB file reads only the part that it needs."""
    path = tmp_path / "large.npy"
    mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint16, shape=(2**29 + 1,))
    mapped[2**28 : 2**28 + 3] = [1, 2, 3]
    del mapped
    data = ChunkedSequenceDataModule(str(path), batch_size=64, val_fraction=0, test_fraction=0)
    assert isinstance(data.part("train").inputs, np.memmap)
    chunk = next(iter(data.train_dataloader()))
    assert chunk.inputs.shape == (64, 64)
    assert chunk.inputs[32, :4].tolist() == [1, 2, 3, 0]
    assert int(chunk.inputs.sum()) == 6


def test_targets_of_their_own(tmp_path):
    """Targets can come from an array or a file of the same length."""
    sequence, targets = np.zeros((20, 2)), np.arange(20.0)
    np.save(tmp_path / "targets.npy", targets)
    for source in (targets, str(tmp_path / "targets.npy")):
        data = ChunkedSequenceDataModule(sequence, targets=source, **WHOLE)
        chunks = list(data.train_dataloader())
        read = torch.cat([chunk.targets[chunk.mask] for chunk in chunks])
        assert sorted(read.tolist()) == targets.tolist()
        assert (data.in_features, data.out_features) == (2, 1)


def test_documents_begin_where_it_is_said():
    """Documents start at the given elements in every split."""
    data = ChunkedSequenceDataModule(
        np.arange(100), document_starts=[0, 12, 85, 97], val_fraction=0.1, test_fraction=0.1, batch_size=1
    )
    assert next(iter(data.train_dataloader())).reset_steps == (0, 12)
    assert next(iter(data.val_dataloader())).reset_steps == (0, 5)
    assert next(iter(data.test_dataloader())).reset_steps == (0, 7)


def test_sizes_come_from_the_sequence():
    """Sizes are the number of features, or one more than the largest symbol."""
    assert ChunkedSequenceDataModule(np.zeros((50, 3))).in_features == 3
    symbols = ChunkedSequenceDataModule(np.array([0, 5, 2, 5]))
    assert (symbols.in_features, symbols.out_features) == (6, 6)
    assert ChunkedSequenceDataModule(np.zeros((4, 3)), targets=np.array([0, 1, 2, 0])).out_features == 3
    default = ChunkedSequenceDataModule()
    assert (default.in_features, default.out_features) == (1, 1)


def test_the_default_is_a_series_of_numbers():
    """The default is a series of 10,000 values, 80% of which are for training."""
    chunks = list(ChunkedSequenceDataModule().train_dataloader())
    assert sum(int(chunk.mask.sum()) for chunk in chunks) == 7999
    assert chunks[0].inputs.shape == (32, 64, 1)


def test_a_checkpoint_of_a_training_holds_plain_types_only(tmp_path):
    """Hyperparameters exclude the chunk lengths and the data, so checkpoints load with `weights_only`."""
    data = ChunkedSequenceDataModule(np.random.rand(200, 2), chunk_lengths=NormalLengths(1.0, min_steps=2), **WHOLE)
    fit(Streaming(), data).save_checkpoint(tmp_path / "end.ckpt")
    saved = torch.load(tmp_path / "end.ckpt", weights_only=True)["datamodule_hyper_parameters"]
    assert saved.keys() == {"truncated_bptt_steps", "batch_size", "val_fraction", "test_fraction", "seed"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Lightning calls what jsonargparse deprecates
def test_the_command_line_makes_it(monkeypatch, tmp_path):
    """The command line builds it from plain values, and chunk lengths by their class."""
    np.save(tmp_path / "sequence.npy", np.arange(100))
    arguments = [
        f"--data.sequence={tmp_path / 'sequence.npy'}",
        "--data.document_starts=[3,7]",
        "--data.chunk_lengths=lightning_clip.datamodules.NormalLengths",
        "--data.chunk_lengths.std=2.5",
    ]
    model = "--model=lightning_clip.TBPTTModule"
    monkeypatch.setattr(sys, "argv", ["program", model, "--data=lightning_clip.ChunkedSequenceDataModule", *arguments])
    made = LightningCLI(run=False, save_config_callback=None, seed_everything_default=0).datamodule
    assert made.in_features == 100
    assert made.chunk_lengths.std == 2.5
    assert made.document_starts.tolist() == [3, 7]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"sequence": np.zeros(10)},
            r"sequence=…\): a sequence \(elements,\) must hold integer symbols; reshape n",
        ),
        ({"sequence": np.array(["a", "b"])}, r"sequence='…'\): sequence must be an array of real numbers"),
        ({"sequence": np.array(3)}, "must be an array of real numbers with at least one dimension"),
        ({"sequence": "nowhere.npy"}, r"sequence='nowhere\.npy'\): not a readable \.npy file of numbers .*No such"),
        ({"sequence": np.arange(10), "targets": np.arange(9)}, "as many elements as sequence: 10, not 9"),
        ({"sequence": np.arange(10), "document_starts": [5, 3]}, "in ascending order"),
        ({"sequence": np.arange(10), "document_starts": [-1]}, "from 0, in ascending order"),
    ],
)
def test_bad_arguments(arguments, message):
    """Bad arguments raise an error of one line with the argument and the rule."""
    with pytest.raises(ValueError, match=message):
        ChunkedSequenceDataModule(**arguments).train_dataloader()


def test_a_file_of_something_else(tmp_path):
    """A file of another format raises an error of one line with its path."""
    (tmp_path / "text.npy").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.npy'\): not a readable \.npy file of numbers"):
        ChunkedSequenceDataModule(str(tmp_path / "text.npy")).train_dataloader()
