"""The README is correct: its code runs, its commands exist and its tables are complete."""

import inspect
import re
import shlex
from pathlib import Path

import pytest

import lightning_clip.callbacks
import lightning_clip.strategies
from lightning_clip import ClipStrategy
from lightning_clip.cli.main import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(README[: found.start()].count("\n") + 1, found[1], found[2]) for found in FENCE.finditer(README)]
PYTHON = [(line, text) for line, language, text in BLOCKS if language == "python"]


def commands() -> list[str]:
    """The commands in the console blocks (the lines after `$`), with continued lines joined and comments removed."""
    joined = [text.replace("\\\n", " ") for _, language, text in BLOCKS if language == "console"]
    lines = [line for text in joined for line in text.splitlines() if line.startswith("$ ")]
    return [re.sub(r"\s+#.*", "", line.removeprefix("$ ")) for line in lines]


TRAIN = [command for command in commands() if command.startswith("lightning-clip fit")]


def test_there_is_something_to_test():
    """The README contains Python blocks and training commands, and every code fence is part of a parsed block."""
    assert len(PYTHON) >= 2
    assert TRAIN
    assert README.count("```") == 2 * len(BLOCKS)


@pytest.mark.parametrize(("line", "text"), PYTHON, ids=[f"line {line}" for line, _ in PYTHON])
def test_its_code_runs(line, text, tmp_path, monkeypatch):
    """Every Python block runs on its own in an empty folder."""
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "readme"}
    exec(compile("\n" * line + text, ROOT / "README.md", "exec"), namespace)


@pytest.mark.parametrize("command", TRAIN)
def test_its_training_commands_run(command, tmp_path, monkeypatch):
    """Every `lightning-clip fit …` command runs as written, from the root of the repository."""
    arguments = shlex.split(command.replace("configs/", f"{ROOT.as_posix()}/configs/"))[1:]
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, "--trainer.fast_dev_run=true", "--trainer.enable_progress_bar=false"]) == 0


@pytest.mark.parametrize("command", ["compare", "report"])
def test_its_other_commands_have_these_options(command, capsys):
    """`--help` lists every option of `compare` and `report` that the README mentions."""
    mentioned = [one for one in commands() if one.startswith(f"lightning-clip {command}")]
    assert mentioned
    with pytest.raises(SystemExit):
        main([command, "--help"])
    known = capsys.readouterr().out
    assert {option for one in mentioned for option in re.findall(r"--[\w-]+", one) if option not in known} == set()


@pytest.mark.parametrize("target", ["demo", "test"])
def test_its_make_targets_are_there(target):
    """The introduction mentions `make demo` and `make test`, and the Makefile has both targets."""
    assert f"make {target}" in README.partition("\n## ")[0]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_strategy_is_in_its_table():
    """Each concrete strategy has a row, and each row describes a strategy."""
    section = README.partition("\n## The strategies\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    exported = [getattr(lightning_clip, name) for name in lightning_clip.strategies.__all__]
    classes = [one for one in exported if inspect.isclass(one) and issubclass(one, ClipStrategy)]
    assert sorted(rows) == sorted(one.__name__ for one in classes if not inspect.isabstract(one))


def test_every_callback_is_in_it():
    """The README mentions each callback that the package exports."""
    assert [name for name in lightning_clip.callbacks.__all__ if f"`{name}" not in README] == []


def test_its_links_lead_somewhere():
    """Every link to a file of the repository points to an existing file."""
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
