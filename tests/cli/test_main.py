"""`main`: what each command does, which errors are one line, and which keep their traceback."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lightning_clip import MLPRegressor, __version__
from lightning_clip.cli.commands import ENGINE_NAMES
from lightning_clip.studies.engines import ENGINES
from tests.support.command import call, refusal
from tests.support.fresh import run

PARTS = ("--model=MLPRegressor", "--data=RegressionDataModule", "--trainer.accelerator=cpu", "--trainer.logger=false")
SHORT = (*PARTS, "--trainer.fast_dev_run=2", "--trainer.enable_progress_bar=false")
OUT_OF_RANGE = {"class_path": "ValueClip", "init_args": {"clip_value": -1}}
CLIPPED = ("--trainer.callbacks+=GradientClipping", "--trainer.callbacks.strategy=AutoClip")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


def test_without_a_command_the_commands_are_listed(capsys):
    """The program alone and `--help` list the commands."""
    assert call() == call("--help") == call("-h") == 0
    text = capsys.readouterr().out
    for command in ("init", "list", "fit", "validate", "test", "predict", "compare", "report", "completion"):
        assert command in text


def test_the_version_is_printed(capsys):
    """`--version` prints the version of the package."""
    assert call("--version") == 0
    assert capsys.readouterr().out == f"lightning-clip {__version__}\n"


def test_the_module_is_the_same_program():
    """`python -m lightning_clip` and the console script run `main` and exit with its code."""
    script = Path(sys.executable).with_name("lightning-clip")
    for program in ([sys.executable, "-m", "lightning_clip"], [str(script)]):
        done = subprocess.run([*program, "frobnicate"], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(
            "lightning-clip: 'frobnicate' is not a command; use one of init, list, compare, report, suggest, replay, "
        )


@pytest.mark.parametrize("command", ["compare", "report", "suggest", "replay", "fit", "list", "init", "completion"])
def test_each_command_explains_its_options(command, capsys):
    """`COMMAND --help` lists the options of the command."""
    assert call(command, "--help") == 0
    text = capsys.readouterr().out
    expected = {"compare": "--resume", "report": "path", "fit": "--help-all", "list": "strategies", "init": "folder"}
    expected |= {"suggest": "--num_steps", "replay": "CAPTURE"}
    assert f"usage: lightning-clip {command}" in text
    assert expected.get(command, "bash") in text


def test_help_imports_nothing_heavy():
    """What takes seconds to import is imported after the options are read."""
    heavy = ("torch", "lightning", "numpy", "rich", "joblib", "matplotlib", "sklearn", "torchmetrics")
    code = (
        "import contextlib, io, sys\n"
        "from lightning_clip.cli import main\n"
        "for args in ('-h', 'report -h', 'suggest -h', 'replay -h', 'compare -h', 'fit -h', 'init x', 'list -h'"
        ", 'compare --jobs=0'):\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "        main(args.split())\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_the_names_of_engines_are_those_that_exist():
    """They are written down twice, because the engines take seconds to import."""
    assert list(ENGINE_NAMES) == list(ENGINES)


def test_class_names_are_enough_to_train(capsys):
    """`fit` finds models, data, callbacks and strategies by their class names, and prints the report."""
    assert call("fit", *SHORT, *CLIPPED, "--trainer.callbacks+=RichGradientReport") == 0
    text = capsys.readouterr().out
    assert "Strategy   AutoClip(percentile=10)" in text
    assert "Run        2 optimizer steps" in text


def test_what_is_printed_is_about_the_run(capsys, caplog):
    """Lightning's advertisements are hidden, its messages about the run are not, whichever package logs them."""
    with caplog.at_level("INFO", logger="lightning.pytorch"), caplog.at_level("INFO", logger="pytorch_lightning"):
        assert call("fit", *SHORT) == 0
    said = caplog.text + "".join(capsys.readouterr())
    assert "Trainer.fit` stopped" in said
    assert "Tip" not in said


def test_the_model_takes_its_sizes_from_the_data():
    """The number of features need not be given twice."""
    assert call("fit", *SHORT, "--data.source=diabetes", "--trainer.limit_val_batches=0") == 0


@pytest.mark.parametrize(("command", "shown"), [("validate", "val_mse"), ("test", "test_mse"), ("predict", "")])
def test_the_other_commands_of_lightning_run(command, shown, capsys):
    """`validate`, `test` and `predict` work as in Lightning, with the same classes."""
    assert call(command, *SHORT) == 0
    assert shown in capsys.readouterr().out


def test_a_later_config_adds_to_an_earlier_one(tmp_path, capsys):
    """`callbacks+` in a file appends, so that each file of a run can be written without the others."""
    report = {"trainer": {"callbacks": [{"class_path": "lightning_clip.RichGradientReport"}]}}
    strategy = {"class_path": "lightning_clip.ValueClip", "init_args": {"clip_value": 0.25}}
    clipping = {"class_path": "lightning_clip.GradientClipping", "init_args": {"strategy": strategy}}
    for name, content in (("report", report), ("clip", {"trainer": {"callbacks+": [clipping]}})):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    assert call("fit", "--config", "report.yaml", "--config", "clip.yaml", *SHORT) == 0
    assert "Strategy   ValueClip(clip_value=0.25" in capsys.readouterr().out


def test_a_run_can_be_repeated_from_its_config(tmp_path, capsys):
    """`fit` saves its configuration beside the log, and can run from it."""
    logger = ("--trainer.logger=CSVLogger", "--trainer.logger.save_dir=runs", "--trainer.max_epochs=1")
    assert call("fit", *PARTS[:3], *logger, "--trainer.limit_train_batches=2", *CLIPPED) == 0
    config = next(tmp_path.rglob("config.yaml"))
    assert call("fit", "--config", config, "--trainer.callbacks+=RichGradientReport") == 0
    assert "Strategy   AutoClip" in capsys.readouterr().out


def test_a_guard_that_raises_ends_in_one_line(capsys):
    """If a guard ends training, `fit` exits with 1 and the message of the guard, without a traceback."""
    guard = ("--trainer.callbacks+=NonFiniteGuard", "--trainer.callbacks.action=raise", "--trainer.max_epochs=1")
    assert call("fit", *PARTS, *guard, "--trainer.enable_progress_bar=false") == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("lightning-clip: NonFiniteGuard('raise'): the gradient")


def test_a_bug_keeps_its_traceback():
    """An exception in a module is not mistaken for a mistake in the configuration."""
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
        (
            ["--trainer.callbacks+=GradientClipping", "--trainer.callbacks.strategy=Nope"],
            "GradientClipping('Nope'): there is no such strategy; did you mean 'NoClip'?",
        ),
        ([*CLIPPED, "--trainer.callbacks.strategy.percentile=-1"], "AutoClip(percentile=-1.0"),
        ([*CLIPPED, "--trainer.gradient_clip_val=1.5"], "You have set `Trainer(gradient_clip_val=1.5)` and are using"),
        (["--trainer.accelerator=abacus"], "trainer: You selected an invalid accelerator name: `accelerator='abacus'`"),
        (["--ckpt_path=none.ckpt"], "--ckpt_path none.ckpt: there is no such file; use a path or one of best, last"),
    ],
)
def test_fit_refuses_what_it_cannot_use(options, message, capsys):
    """A wrong option ends `fit` with exit code 2, and the last line on stderr says what is wrong."""
    assert call("fit", *SHORT, *options) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert error.splitlines()[-1].startswith("lightning-clip: ")
    assert message in error.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trainer: [", "bad.yaml: not a YAML file: .*line 1"),
        (
            "trainer: {callbacks+: [{class_path: GradientClipping, init_args: {strategy: "
            "{class_path: NormClip, init_args: {max_norm: big}}}}]}",
            "bad.yaml: max_norm: expected float, found big. See `lightning-clip fit --help`",
        ),
    ],
)
def test_an_unreadable_config_is_named(tmp_path, capsys, text, message):
    """The message names the file that the mistake is in."""
    (tmp_path / "bad.yaml").write_text(text, encoding="utf-8")
    line = refusal(capsys, "fit", *SHORT, "--config", "bad.yaml")
    assert re.match(message, line)


@pytest.mark.parametrize("model", ["MismatchedMLP", "MismatchedTraining"], ids=["constructor", "training_step"])
def test_a_foreign_value_error_keeps_its_traceback(model, tmp_path):
    """A `ValueError` of somebody else's module is a bug, even if its message begins like one of ours."""
    done = run(["-m", "lightning_clip", "fit", f"--model=tests.support.studies.{model}", *SHORT[1:]], tmp_path)
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.splitlines()[-1] == "ValueError: Foo(a, b): the shapes do not match here"
    assert "lightning-clip: " not in done.stderr


def test_a_foreign_error_behind_an_optional_argument_keeps_its_traceback():
    """The command line raises the exception, of which jsonargparse keeps only the text."""
    options = (
        "--trainer.callbacks+=GradientClipping",
        "--trainer.callbacks.strategy=tests.support.studies.MismatchedClip",
    )
    with pytest.raises(ValueError, match=r"^Foo\(a, b\): the shapes do not match here$") as raised:
        call("fit", *SHORT, *options)
    assert raised.traceback[-1].path.name == "studies.py"


def test_our_error_in_a_nested_class_is_one_line(tmp_path, capsys):
    """A bad argument of a strategy in a file is quoted as a call."""
    strategy = {"class_path": "Chain", "init_args": {"strategies": [{"class_path": "NormClip"}, OUT_OF_RANGE]}}
    clipping = {"class_path": "lightning_clip.GradientClipping", "init_args": {"strategy": strategy}}
    (tmp_path / "clip.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": [clipping]}}), encoding="utf-8")
    assert call("fit", *SHORT, "--config", "clip.yaml") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == "lightning-clip: ValueClip(clip_value=-1.0): clip_value must be a positive, finite number."


@pytest.mark.parametrize("place", ["text.txt", "folder/text.txt"])
def test_a_missing_file_that_the_user_named_is_one_line(capsys, place):
    """Naming a folder names the files in it."""
    named = place.partition("/")[0]
    model = ("--model=tests.support.studies.ReadingMLP", f"--model.path={place}")
    extra = () if place == named else (f"--trainer.default_root_dir={named}",)
    assert call("fit", *SHORT[1:], *model, *extra) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"lightning-clip: {place}: No such file or directory"


def test_a_missing_file_that_the_user_did_not_name_keeps_its_traceback():
    """The default of an argument is not something that the user named."""
    with pytest.raises(FileNotFoundError, match=r"default\.txt"):
        call("fit", "--model=tests.support.studies.ReadingMLP", *SHORT[1:])
    call("fit", "--model=tests.support.studies.ReadingMLP", "--model.path=text.txt", *SHORT[1:])
    with pytest.raises(FileNotFoundError, match=r"default\.txt"):
        call("fit", "--model=tests.support.studies.ReadingMLP", *SHORT[1:])


def test_a_foreign_error_while_the_trainer_is_built_keeps_its_traceback():
    """Only what Lightning itself refuses is a wrong option of the trainer."""
    with pytest.raises(ValueError, match=r"^Foo\(a, b\): the shapes do not match here$"):
        call("fit", *SHORT, "--trainer.callbacks+=tests.support.studies.MismatchedCallback")


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_a_checkpoint_keeps_the_arguments_of_its_module(tmp_path):
    """A checkpoint of `fit` can be loaded without arguments, validated, and resumed."""
    options = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.default_root_dir=out")
    assert call("fit", *PARTS, *options, "--model.hidden_sizes=[7]", "--trainer.enable_progress_bar=false") == 0
    checkpoint = next(tmp_path.rglob("*.ckpt"))
    assert MLPRegressor.load_from_checkpoint(checkpoint).layers[0].out_features == 7
    same = (*PARTS, "--model.hidden_sizes=[7]", "--trainer.enable_progress_bar=false", f"--ckpt_path={checkpoint}")
    again = ("--trainer.default_root_dir=out", "--trainer.limit_train_batches=2")
    assert call("validate", *same, *again) == call("fit", *same, *again, "--trainer.max_epochs=2") == 0
