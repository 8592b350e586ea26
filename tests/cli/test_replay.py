"""`lightning-clip replay`: a bad step taken again from the command line."""

import json

import pytest

from lightning_clip.cli.main import main
from tests.support.bad_sample import BAD, Plain, captured

MODEL = ("--model", "tests.support.bad_sample.Plain")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return str(captured(Plain(), tmp_path_factory.mktemp("bad")).paths[0])


def test_it_prints_the_report_or_plain_data(path, capsys):
    """The module comes from its class and its options, and the sample is named."""
    assert main(["replay", path, "--width", "80", *MODEL]) == 0
    out = capsys.readouterr().out
    assert f"Worst sample: {BAD}" in out
    assert max(map(len, out.splitlines())) <= 80
    assert main(["replay", path, "--json", *MODEL]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["format"], data["worst"]["index"], data["is_exact"]) == ("lightning-clip replay", BAD, True)


def test_the_saved_configuration_of_a_run_is_enough(tmp_path, monkeypatch, capsys):
    """What `fit` has saved names the module, with the sizes that came from the data; nothing else is printed."""
    monkeypatch.chdir(tmp_path)
    data = ("--model=MLPRegressor", "--data=RegressionDataModule", "--data.source=diabetes", "--no-report")
    quiet = tuple(f"--trainer.{key}=false" for key in ("logger", "enable_progress_bar", "enable_checkpointing"))
    detector = "--trainer.callbacks.detector={class_path: lightning_clip.SpikeDetector, init_args: {warmup_steps: 2}}"
    capture = ("--trainer.callbacks+=BadStepCapture", detector, "--trainer.callbacks.folder=bad")
    assert main(["fit", *data, *quiet, *capture, "--trainer.max_steps=12", "--trainer.limit_val_batches=0"]) == 0
    first = min((tmp_path / "bad").iterdir())
    capsys.readouterr()
    assert main(["replay", str(first), "--config", "config.yaml"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "loss and norm equal the recorded ones" in printed.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "name the file of a bad step first"),
        (("no.pt", *MODEL), "no.pt: No such file"),
        (("{path}",), "name the module, a Plain: --config FILE"),
        (("{path}", "--width", "x", *MODEL), "--width is a number of characters"),
        (("{path}", "--model", "tests.support.bad_sample.Recurrent"), "a step of Plain, which Recurrent does not fit"),
        ((__file__, *MODEL), "not a bad step"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line(words, says, path, capsys, tmp_path, monkeypatch):
    """The exit code is 2, and the line says what to do."""
    monkeypatch.chdir(tmp_path)
    assert main(["replay", *(word.format(path=path) for word in words)]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert len(err.splitlines()) == 1
