"""The README is short and correct: its code runs, its commands exist, its links lead somewhere."""

import re
import shlex

import pytest

import lightning_clip.callbacks
from lightning_clip.cli.main import main
from tests.support.markdown import ROOT, Block, blocks, commands, run

PAGE = ROOT / "README.md"
README = PAGE.read_text(encoding="utf-8")
COMMANDS = commands(PAGE)
TRAIN = [command for command in COMMANDS if command.startswith("lightning-clip fit")]


def test_it_is_short():
    """It has at most 150 lines; the rest is in `docs/`."""
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("block", blocks(PAGE, "python"), ids=str)
def test_its_code_runs(block: Block, tmp_path, monkeypatch):
    """Every Python block runs on its own in an empty folder."""
    monkeypatch.chdir(tmp_path)
    run(block)


@pytest.mark.parametrize("command", TRAIN)
def test_its_training_commands_run(command, tmp_path, monkeypatch):
    """Every `lightning-clip fit …` command runs as written."""
    monkeypatch.chdir(tmp_path)
    options = ("--trainer.fast_dev_run=true", "--trainer.enable_progress_bar=false")
    assert main([*shlex.split(command)[1:], *options]) == 0


@pytest.mark.parametrize("block", blocks(PAGE, "yaml"), ids=str)
def test_its_yaml_trains(block: Block, tmp_path, monkeypatch):
    """Every YAML block is a configuration of `lightning-clip fit`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yml").write_text(block.text, encoding="utf-8")
    model = ("--model=MLPRegressor", "--data=RegressionDataModule", "--config=config.yml")
    assert main(["fit", *model, "--trainer.fast_dev_run=true", "--trainer.enable_progress_bar=false"]) == 0


def test_its_commands_are_there():
    """Each command line begins with pip, make with one of our targets, or a command of ours."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in COMMANDS:
        program, name = command.split()[:2]
        assert program in ("pip", "make", "lightning-clip")
        if program == "make":
            assert re.search(rf"^{name}:", makefile, re.MULTILINE)
    assert {"make demo", "make test"} <= set(COMMANDS)
    assert TRAIN


def test_every_callback_is_in_it():
    """The README mentions each callback that the package exports."""
    assert [name for name in lightning_clip.callbacks.__all__ if f"`{name}" not in README] == []


def test_its_links_lead_somewhere():
    """Every link to a file of the repository points to an existing file."""
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    assert len(targets) > 15
    assert [target for target in targets if not (ROOT / target).exists()] == []
