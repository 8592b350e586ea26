"""The command line: what each command does, and what it says when it cannot."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lightning_clip import __version__
from tests.support.command import call, refusal

PARTS = ("--model=MLPRegressor", "--data=RegressionDataModule", "--trainer.accelerator=cpu", "--trainer.logger=false")
SHORT = (*PARTS, "--trainer.fast_dev_run=2", "--trainer.enable_progress_bar=false")
CLIPPED = ("--trainer.callbacks+=GradientClipping", "--trainer.callbacks.strategy=AutoClip")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


def test_without_a_command_the_commands_are_listed(capsys):
    """The program alone and `--help` list what it can do."""
    assert call() == call("--help") == call("-h") == 0
    text = capsys.readouterr().out
    for command in ("fit", "validate", "test", "predict", "compare", "report"):
        assert command in text


def test_the_version_is_printed(capsys):
    """`--version` prints the package's version."""
    assert call("--version") == 0
    assert capsys.readouterr().out == f"lightning-clip {__version__}\n"


def test_the_module_is_the_same_program():
    """`python -m lightning_clip` and the console script run `main` and end with its exit code."""
    script = Path(sys.executable).with_name("lightning-clip")
    for program in ([sys.executable, "-m", "lightning_clip"], [str(script)]):
        done = subprocess.run([*program, "frobnicate"], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("lightning-clip: 'frobnicate' is not a command; use one of compare, report, fit")


@pytest.mark.parametrize("command", ["compare", "report", "fit"])
def test_each_command_explains_its_options(command, capsys):
    """`COMMAND --help` lists the options of the command."""
    assert call(command, "--help") == 0
    text = capsys.readouterr().out
    expected = {"compare": "--resume", "report": "path", "fit": "--trainer.max_epochs"}
    assert f"usage: lightning-clip {'[options] ' if command == 'fit' else ''}{command}" in text
    assert expected[command] in text


def test_class_names_are_enough_to_train(capsys):
    """`fit` takes models, data, callbacks and strategies by their class names, and prints the report."""
    assert call("fit", *SHORT, *CLIPPED, "--trainer.callbacks+=RichGradientReport") == 0
    text = capsys.readouterr().out
    assert "Strategy   AutoClip(percentile=10.0" in text
    assert "Run        2 optimizer steps" in text


def test_what_is_printed_is_about_the_run(capsys, caplog):
    """Lightning's advertisements are left out; what it says about the run is not."""
    with caplog.at_level("INFO", logger="lightning.pytorch"):
        assert call("fit", *SHORT) == 0
    said = caplog.text + "".join(capsys.readouterr())
    assert "Trainer.fit` stopped" in said
    assert "Tip" not in said


def test_the_model_takes_its_sizes_from_the_data():
    """The number of features need not be said twice."""
    assert call("fit", *SHORT, "--data.source=diabetes", "--trainer.limit_val_batches=0") == 0


@pytest.mark.parametrize(("command", "shown"), [("validate", "val_mse"), ("test", "test_mse"), ("predict", "")])
def test_the_other_commands_of_lightning_run(command, shown, capsys):
    """`validate`, `test` and `predict` are Lightning's, over the same classes."""
    assert call(command, *SHORT) == 0
    assert shown in capsys.readouterr().out


def test_a_later_config_adds_to_an_earlier_one(tmp_path, capsys):
    """`callbacks+` in a file appends, so that the axes of a run are files that know nothing of each other."""
    report = {"trainer": {"callbacks": [{"class_path": "lightning_clip.RichGradientReport"}]}}
    strategy = {"class_path": "lightning_clip.ValueClip", "init_args": {"clip_value": 0.25}}
    clipping = {"class_path": "lightning_clip.GradientClipping", "init_args": {"strategy": strategy}}
    for name, content in (("report", report), ("clip", {"trainer": {"callbacks+": [clipping]}})):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    assert call("fit", "--config", "report.yaml", "--config", "clip.yaml", *SHORT) == 0
    assert "Strategy   ValueClip(clip_value=0.25" in capsys.readouterr().out


def test_a_run_can_be_made_again_from_its_config(tmp_path, capsys):
    """`fit` saves its configuration beside the log, and runs from it."""
    logger = ("--trainer.logger=CSVLogger", "--trainer.logger.save_dir=runs", "--trainer.max_epochs=1")
    assert call("fit", *PARTS[:3], *logger, "--trainer.limit_train_batches=2", *CLIPPED) == 0
    config = next(tmp_path.rglob("config.yaml"))
    assert call("fit", "--config", config, "--trainer.callbacks+=RichGradientReport") == 0
    assert "Strategy   AutoClip" in capsys.readouterr().out


def test_a_guard_that_raises_ends_in_one_line(capsys):
    """A training that a guard ended exits with 1 and the guard's line, without a traceback."""
    guard = ("--trainer.callbacks+=NonFiniteGuard", "--trainer.callbacks.action=raise", "--trainer.max_epochs=1")
    assert call("fit", *PARTS, *guard, "--trainer.enable_progress_bar=false") == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("lightning-clip: NonFiniteGuard('raise'): the gradient")


def test_a_defect_keeps_its_traceback():
    """An exception in a module is not taken for a mistake in its configuration."""
    with pytest.raises(RuntimeError, match="a defect"):
        call("fit", "--model=tests.support.studies.BrokenMLP", *SHORT[1:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model=Nope"], "model: there is no class 'Nope'"),
        (["--model.width=3"], "Option 'width' is not accepted"),
        (["--frobnicate=3"], "unrecognized arguments: --frobnicate=3"),
        (["--trainer", "{max_epoch: 3}"], "max_epoch"),
        (["--trainer.max_epochs=x"], "trainer.max_epochs: expected int, found x"),
        (["--trainer.max_epochs=-3"], "`max_epochs` must be a non-negative integer or -1"),
        (["--config=none.yaml"], "config: File does not exist: "),
        (["--trainer.callbacks+=GradientClipping", "--trainer.callbacks.strategy=Nope"], "there is no class 'Nope'"),
        ([*CLIPPED, "--trainer.callbacks.strategy.percentile=-1"], "AutoClip(percentile=-1.0"),
        ([*CLIPPED, "--trainer.gradient_clip_val=1"], "You have set `Trainer(gradient_clip_val=1)` and are using"),
        (["--ckpt_path=none.ckpt"], "none.ckpt"),
    ],
)
def test_fit_refuses_what_it_cannot_use(options, message, capsys):
    """A wrong option ends `fit` with exit code 2; the last line on stderr says what is wrong, without a traceback."""
    assert call("fit", *SHORT, *options) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert error.splitlines()[-1].startswith("lightning-clip: ")
    assert message in error.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trainer: [", "bad.yaml: Problems parsing config: .*line 2"),
        (
            "trainer: {callbacks+: [{class_path: GradientClipping, init_args: {strategy: "
            "{class_path: NormClip, init_args: {max_norm: big}}}}]}",
            "bad.yaml: max_norm: expected float, found big. See `lightning-clip fit --help`",
        ),
    ],
)
def test_an_unreadable_config_is_named(tmp_path, capsys, text, message):
    """What is wrong in a file is said together with its name."""
    (tmp_path / "bad.yaml").write_text(text, encoding="utf-8")
    line = refusal(capsys, "fit", *SHORT, "--config", "bad.yaml")
    assert re.match(message, line)
