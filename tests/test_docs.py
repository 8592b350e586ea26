"""The documentation is correct: its code runs, its commands have these options, its pages are in the navigation."""

import re
from pathlib import Path

import pytest
import yaml

import lightning_clip.strategies
from lightning_clip.cli.main import main
from tests.support.markdown import ROOT, Block, blocks, commands, run

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
PYTHON = [block for page in PAGES for block in blocks(page, "python")]
COMMANDS = [command for page in PAGES for command in commands(page)]


def test_there_is_something_to_test():
    """There are guides with Python blocks and commands."""
    assert len(PYTHON) >= 10
    assert COMMANDS


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_its_code_runs(block: Block, tmp_path, monkeypatch):
    """Every Python block runs on its own in an empty folder; one that is about another package needs it."""
    for package in re.findall(
        r"^\s*(?:from|import) (accelerate|darts|neuralforecast|pytorch_forecasting|transformers)",
        block.text,
        re.MULTILINE,
    ):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    run(block)


@pytest.mark.parametrize("block", [block for page in PAGES for block in blocks(page, "yaml")], ids=str)
def test_its_yaml_can_be_read(block: Block):
    """Every YAML block is a mapping."""
    assert isinstance(yaml.safe_load(block.text), dict)


@pytest.mark.parametrize("command", sorted({one.split()[1] for one in COMMANDS if one.startswith("lightning-clip ")}))
def test_its_commands_have_these_options(command, capsys):
    """`--help` lists every option of a command that the pages mention."""
    if command in ("fit", "validate", "test", "predict"):
        pytest.skip("their options are those of the model, the data and the Trainer")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    known = capsys.readouterr().out
    mentioned = {
        option for one in COMMANDS if one.split()[1:2] == [command] for option in re.findall(r" (--[\w-]+)", one)
    }
    assert {option for option in mentioned if option not in known} == set()


def test_every_strategy_is_in_the_table():
    """Each concrete strategy has a row that leads to its page, and each row describes a strategy."""
    rows = re.findall(r"^\| \[`(\w+)`\]\((\w+)\.md\) \|", (DOCS / "strategies" / "index.md").read_text(), re.MULTILINE)
    classes = {name: getattr(lightning_clip, name) for name in lightning_clip.strategies.__all__}
    files = {name: cls.__module__.rpartition(".")[2] for name, cls in classes.items() if name != "ClipStrategy"}
    assert dict(rows) == files
    assert len(rows) == len(files)


def test_every_page_is_in_the_navigation():
    """`mkdocs.yml` names each page; the strict build finds broken links."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {page.relative_to(DOCS).as_posix() for page in PAGES} - {"strategies/index.md"}
    assert {page for page in pages if f": {page}\n" not in text} == set()


def test_every_picture_is_shown():
    """No picture is left behind."""
    shown = "".join(page.read_text(encoding="utf-8") for page in (*PAGES, ROOT / "README.md"))
    pictures = [path for path in (DOCS / "pictures").rglob("*.*") if path.parent.name != "strategies"]
    assert [path.name for path in pictures if path.name not in shown] == []
    files = {
        Path(cls.__module__.replace(".", "/")).name
        for cls in vars(lightning_clip.strategies).values()
        if isinstance(cls, type)
    }
    assert {path.stem for path in (DOCS / "pictures" / "strategies").iterdir()} <= files
