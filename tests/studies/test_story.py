"""`show`: the same report again, from files alone."""

import shutil
import subprocess
import sys
from io import StringIO

import pytest
from rich.console import Console

from lightning_clip._errors import InputError
from lightning_clip.cli.compare import compare
from lightning_clip.reports import to_text
from lightning_clip.studies import ResultsFolder
from lightning_clip.studies.story import show, story
from tests.support.studies import result, written_study


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished study."""
    folder = tmp_path_factory.mktemp("study")
    config = written_study(folder)
    compare(str(config), seeds=None, jobs=1, output=folder / "out", resume=False, command="")
    return folder / "out"


def lines_of(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def test_a_folder_gives_its_report_again(finished, tmp_path, monkeypatch, capsys):
    """The report of a study, from a copy of its files alone, is the one that was written."""
    monkeypatch.setenv("COLUMNS", "100")
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / "report.txt").unlink()
    assert show(copy) == 0
    assert lines_of(capsys.readouterr().out) == lines_of((finished / "report.txt").read_text(encoding="utf-8"))


def test_a_record_gives_the_report_of_its_run(finished, capsys):
    """The record of one run is enough for its report."""
    assert show(finished / "records" / "mlp-none-0.jsonl") == 0
    text = capsys.readouterr().out
    assert text.startswith("Gradient report: MLPRegressor")
    assert "The gradient is NaN at step" in text or "The gradient is infinite at step" in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_report_fits_its_width(finished, width):
    """No line is wider than the terminal."""
    text = to_text(story("tiny", ResultsFolder(finished).read()[1], ResultsFolder(finished)), width=width)
    assert max(map(len, text.splitlines())) <= width


def test_reading_needs_neither_torch_training_nor_lightning(finished):
    """A report is shown without importing Lightning or scikit-learn, which takes longer than the report."""
    script = (
        "import sys; from pathlib import Path; from lightning_clip.studies.story import show\n"
        f"show(Path({str(finished)!r}))\n"
        "assert not {'lightning', 'pytorch_lightning', 'sklearn', 'joblib', 'matplotlib'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=60)


def test_the_saved_run_is_like_the_lost_one(tmp_path, finished):
    """Beside the first run that diverged stands the last strategy that saved the same model and seed."""
    records = ResultsFolder(finished)
    runs = [
        result("none", 0),
        result("norm-1.0", 0),
        result("none", 1, diverged=True, diverged_at_step=8, metrics={"test_mse": None}),
        result("norm-1.0", 1),
    ]
    text = to_text(story("tiny", runs, records), width=100)
    titles = [line.split(" ─")[0] for line in text.splitlines() if line.startswith("Gradient report")]
    assert titles == ["Gradient report: mlp, none, seed 1", "Gradient report: mlp, norm-1.0, seed 1"]
    without_loss = to_text(story("tiny", [runs[0], runs[1]], records), width=100)
    assert "Gradient report" not in without_loss


def test_a_run_without_a_record_is_left_out(tmp_path):
    """Results alone are enough for the comparison: an experiment need not record its runs."""
    runs = [result("none", 0, diverged=True, diverged_at_step=8, metrics={"test_mse": None}), result("norm-1.0", 0)]
    text = to_text(story("tiny", runs, ResultsFolder(tmp_path)), width=80)
    assert text.startswith("Comparison: tiny")
    assert "Gradient report" not in text


def test_the_setting_is_in_the_title(tmp_path, finished):
    """A run is told apart by its axes too."""
    runs = [
        result("none", 0, axes={"length": 50}, diverged=True, diverged_at_step=8, metrics={"test_mse": None}),
        result("norm-1.0", 0, axes={"length": 50}),
    ]
    records = tmp_path / "records"
    records.mkdir()
    for name in ("none", "norm-1.0"):
        shutil.copy(finished / "records" / f"mlp-{name}-0.jsonl", records / f"mlp-{name}-length-50-0.jsonl")
    text = to_text(story("tiny", runs, ResultsFolder(tmp_path)), width=100)
    assert "Gradient report: mlp, none, length 50, seed 0 ─" in text
    assert "Gradient report: mlp, norm-1.0, length 50, seed 0 ─" in text


def test_a_study_without_finished_runs_is_shown(tmp_path, capsys):
    """A study that was interrupted at once has an empty report."""
    ResultsFolder(tmp_path).write("tiny", [])
    assert show(tmp_path) == 0
    assert capsys.readouterr().out.startswith("Comparison: tiny")


def test_a_report_is_plain_in_a_pipe(finished):
    """Without a terminal there are no colour codes, and with NO_COLOR none in a terminal."""
    name, results = ResultsFolder(finished).read()
    for options in ({}, {"force_terminal": True, "_environ": {"NO_COLOR": "1", "TERM": "xterm"}}):
        console = Console(file=StringIO(), width=100, **options)
        console.print(story(name, results, ResultsFolder(finished)))
        assert "\x1b[3" not in console.file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: expected .*run.*, found the end of the file"),
        ('{"step": 3}\n', "line 1: expected an object that begins with 'run', found"),
        ("name: tiny\n", "line 1: expected one JSON object, found 'name: tiny'"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path, content, message):
    """File, line and what was expected are named."""
    path = tmp_path / "bad.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message) as raised:
        show(path)
    assert str(raised.value).startswith(f"{path}: ")


def test_a_bad_line_is_named(finished, tmp_path):
    """A record that breaks off in the middle says at which line."""
    lines = (finished / "records" / "mlp-norm-1.0-0.jsonl").read_text(encoding="utf-8").splitlines()
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join([*lines[:3], lines[3][:20], *lines[4:]]) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 4: expected one JSON object"):
        show(path)


def test_what_is_not_there_is_refused(tmp_path):
    """A path that does not exist is an error of the file system; a folder without results says so."""
    with pytest.raises(FileNotFoundError):
        show(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="no results here"):
        show(tmp_path)
