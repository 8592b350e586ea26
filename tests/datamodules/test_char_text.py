"""`CharTextDataModule`: a text as symbols."""

import pickle
import sys
from itertools import islice, pairwise
from pydoc_data.topics import topics

import pytest
import torch
from lightning.pytorch.cli import LightningCLI

from lightning_clip import CharTextDataModule, TBPTTModule
from tests.support.fresh import run
from tests.support.streaming import fit


def ready(**options):
    data = CharTextDataModule(**options)
    data.setup("fit")
    return data


def text_of(data, loader):
    """The targets of all streams in order: the text without its first character."""
    chunks = list(loader)
    rows = torch.cat([chunk.targets for chunk in chunks], dim=1)
    mask = torch.cat([chunk.mask for chunk in chunks], dim=1)
    return data.decode(rows[mask])


def test_the_built_in_text_is_that_of_python():
    """The built-in text is the topics of `help()` in alphabetical order, separated by empty lines."""
    data, whole = ready(), "\n\n".join(topics[name] for name in sorted(topics))
    assert data.n_characters == len(whole)
    assert data.alphabet == "".join(sorted(set(whole)))
    parts = [
        text_of(data, loader) for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    ]
    n = len(whole)
    edges = [0, round(n * 0.9), round(n * 0.95), n]
    assert parts == [whole[begin + 1 : end] for begin, end in pairwise(edges)]


@pytest.mark.skipif(sys.version_info[:3] != (3, 11, 7), reason="the text differs by Python version")
def test_the_text_of_python_3_11_7():
    """Size and hash are those with which the settings of this package were found."""
    data = ready()
    assert data.n_characters == 465_126
    assert data.sha256.startswith("71f2ff5d")


def test_the_rarest_characters_share_a_symbol(tmp_path):
    """Rare characters share symbol 0; the others are in the order of their code points."""
    path = tmp_path / "text"
    path.write_text("aaaa bbb cc ddddd é" * 10, encoding="utf-8")
    data = ready(path=str(path), n_symbols=5, val_fraction=0, test_fraction=0, batch_size=2)
    assert data.alphabet == " abd"
    assert text_of(data, data.train_dataloader())[:18] == "aaa bbb \ufffd\ufffd ddddd \ufffd"
    chunk = next(iter(data.train_dataloader()))
    assert int(chunk.inputs.max()) == 4
    assert (data.in_features, data.out_features) == (5, 5)


def test_an_alphabet_larger_than_the_text_needs():
    """A larger alphabet than necessary leaves symbols unused."""
    data = ready(n_symbols=1000)
    assert data.alphabet == ready().alphabet
    assert "\ufffd" not in text_of(data, data.val_dataloader())


def test_streams_go_on_from_chunk_to_chunk():
    """Each row reads its own part of the text, and targets are one character ahead."""
    data = ready(truncated_bptt_steps=10, batch_size=3)
    chunks = list(islice(data.train_dataloader(), 5))
    inputs, targets = (torch.cat([chunk[i] for chunk in chunks], dim=1) for i in range(2))
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert data.decode(inputs[0]) == "\n\n".join(topics[name] for name in sorted(topics))[:50]


def test_the_alphabet_can_be_very_large(tmp_path):
    """An alphabet can have more than 65,536 symbols."""
    path = tmp_path / "text"
    text = "".join(map(chr, range(0x10000, 0x10000 + 70_000)))
    path.write_text(text, encoding="utf-8")
    data = ready(path=str(path), n_symbols=70_001, val_fraction=0, test_fraction=0)
    assert text_of(data, data.train_dataloader()) == text[1:]


def test_setup_for_a_second_stage_reads_nothing():
    """A second `setup` does not read the text again."""
    data = ready()
    data._text = None
    data.setup("test")
    assert data.n_characters > 0


def test_it_can_be_sent_to_another_process(tmp_path):
    """It can be pickled after `setup`, without the text of the file."""
    path = tmp_path / "text"
    path.write_text("hello world " * 100_000)
    data = ready(path=str(path))
    sent = pickle.dumps(data)
    assert len(sent) < path.stat().st_size
    again = next(iter(pickle.loads(sent).train_dataloader()))
    assert torch.equal(again.inputs, next(iter(data.train_dataloader())).inputs)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is that of Linux")
def test_a_large_file_trains_in_little_memory(tmp_path):
    """400 MB of text train with 200 MB of memory to spare, in which reading the whole file fails."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        for _ in range(4):
            file.write(b"some words to begin with\n" * 1000)
            file.seek(100_000_000, 1)
        file.write(b"the end")
    code = f"""
import pathlib, resource
from lightning_clip import CharTextDataModule, TBPTTModule
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData")) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + 200_000_000,) * 2)
data, model = CharTextDataModule({str(path)!r}), TBPTTModule()
data.setup("fit")
for chunk, _ in zip(data.train_dataloader(), range(3)):
    model.run_chunk(model.advance, chunk.inputs, chunk).sum().backward()
print("trained")
pathlib.Path({str(path)!r}).read_bytes()
"""
    done = run(["-c", code], tmp_path)
    assert done.stdout == "trained\n", done.stderr
    assert "MemoryError" in done.stderr


def test_a_network_learns_it():
    """A few steps lower the loss from 7 to below 5 bits per character."""
    torch.manual_seed(0)
    model = TBPTTModule(hidden_size=32, embedding_dim=16, optimizer=lambda params: torch.optim.Adam(params, lr=0.01))
    trainer = fit(model, CharTextDataModule(), limit_train_batches=60, limit_val_batches=1.0)
    assert 3.0 < trainer.callback_metrics["val_bits_per_char"] < 5.0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Lightning calls what jsonargparse deprecates
def test_the_command_line_makes_it(monkeypatch):
    """The command line builds it from plain values."""
    arguments = ["--data=lightning_clip.CharTextDataModule", "--data.n_symbols=64", "--data.batch_size=8"]
    monkeypatch.setattr(sys, "argv", ["program", "--model=lightning_clip.TBPTTModule", *arguments])
    made = LightningCLI(run=False, save_config_callback=None, seed_everything_default=0).datamodule
    assert (made.n_symbols, made.batch_size, made.path) == (64, 8, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"CharTextDataModule\(path='.*'\): not a readable UTF-8 text file \(.*No such file"),
        (b"caf\xe9 au lait", r"not a readable UTF-8 text file \(not UTF-8 at byte 3: "),
        (b"too short", r"batch_size=32\): the train sequence has 7 steps, too few for 32 streams"),
        (b"", "the train sequence has 0 steps"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, content, message):
    """Unusable files raise an error of one line with the path and what is wrong."""
    path = tmp_path / "text"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        ready(path=str(path)).train_dataloader()


def test_bad_arguments():
    """An alphabet needs at least one symbol besides the shared one."""
    with pytest.raises(ValueError, match=r"CharTextDataModule\(n_symbols=1\): n_symbols must be at least 2"):
        CharTextDataModule(n_symbols=1)


def test_a_python_without_help_texts(monkeypatch):
    """If Python lacks its help texts, the error tells what to do."""
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"path=None\): this Python has no pydoc_data; set path to a text file"
    ):
        ready()
