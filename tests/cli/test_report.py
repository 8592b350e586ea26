"""`lightning-clip report`: the report of a study or a run, from its files alone."""

import io
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_clip._errors import InputError
from lightning_clip.cli.compare import compare
from lightning_clip.cli.report import report
from lightning_clip.studies import ResultsFolder
from tests.support.command import call, refusal
from tests.support.studies import written_study


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished study."""
    folder = tmp_path_factory.mktemp("study")
    config = written_study(folder)
    compare(str(config), seeds=None, jobs=1, output=folder / "out", resume=False, command="")
    return folder / "out"


def lines_of(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def test_compare_and_report_show_the_same(tmp_path, capsys):
    """`report DIR` prints what `compare` printed and wrote."""
    assert call("compare", "--config", written_study(tmp_path), "--jobs", "1", "--output", "out") == 0
    compared = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert call("report", "out") == 0
    reported = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    written = Path("out/report.txt").read_text(encoding="utf-8").splitlines()
    assert reported == written
    assert compared[4:-5] == written


def test_one_run_is_reported_from_its_record(tmp_path, capsys):
    """`report FILE.jsonl` prints the report of a run."""
    call("compare", "--config", written_study(tmp_path), "--seeds", "1", "--jobs", "1", "--output", "out")
    capsys.readouterr()
    assert call("report", "out/records/mlp-none-0.jsonl") == 0
    assert capsys.readouterr().out.startswith("Gradient report: MLPRegressor")


def test_a_folder_gives_its_report_again(finished, tmp_path, capsys):
    """From a copy of the files of a study, the report is the one that `compare` wrote."""
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / "report.txt").unlink()
    report([copy])
    assert lines_of(capsys.readouterr().out) == lines_of((finished / "report.txt").read_text(encoding="utf-8"))


def test_a_record_gives_the_report_of_its_run(finished, capsys):
    """The record of one run is enough for its report."""
    report([finished / "records" / "mlp-none-0.jsonl"])
    text = capsys.readouterr().out
    assert text.startswith("Gradient report: MLPRegressor")
    assert "The norm exploded: " in text


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_limited_output_gets_ascii(finished, tmp_path, monkeypatch, encoding):
    """`report` and `compare` print what the output's encoding lacks in ASCII."""
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    report([finished])
    report([finished / "records" / "mlp-none-0.jsonl"])
    compare(str(written_study(tmp_path)), seeds=1, jobs=1, output=tmp_path / "out", resume=False, command="")
    out.flush()
    printed = out.buffer.getvalue().decode(encoding)
    assert "Gradient report: MLPRegressor ---" in printed
    assert printed.count("Comparison: tiny") == 2
    assert "-> " in printed


def test_reading_needs_neither_torch_training_nor_lightning(finished):
    """Reporting imports neither Lightning nor scikit-learn, which would take longer than the report."""
    script = (
        "import sys; from pathlib import Path; from lightning_clip.cli.report import report\n"
        f"report([Path({str(finished)!r})])\n"
        "assert not {'lightning', 'pytorch_lightning', 'sklearn', 'joblib', 'matplotlib'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=60)


def test_a_study_without_finished_runs_is_shown(tmp_path, capsys):
    """A study that was interrupted at once has an empty report."""
    ResultsFolder(tmp_path).write("tiny", [])
    report([tmp_path])
    assert capsys.readouterr().out.startswith("Comparison: tiny")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: expected .*run.*, found the end of the file"),
        ('{"step": 3}\n', "line 1: expected an object that begins with 'run', found"),
        ("name: tiny\n", "line 1: expected one JSON object, found 'name: tiny'"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path, content, message):
    """The message names the file, the line and what was expected."""
    path = tmp_path / "bad.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message) as raised:
        report([path])
    assert str(raised.value).startswith(f"{path}: ")


def test_a_bad_line_is_named(finished, tmp_path):
    """The message names the line at which a record breaks off."""
    lines = (finished / "records" / "mlp-norm-1.0-0.jsonl").read_text(encoding="utf-8").splitlines()
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join([*lines[:3], lines[3][:20], *lines[4:]]) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 4: expected one JSON object"):
        report([path])


def test_what_is_not_there_is_refused(tmp_path):
    """A path that does not exist raises `FileNotFoundError`, a folder without results `InputError`."""
    with pytest.raises(FileNotFoundError):
        report([tmp_path / "none.jsonl"])
    with pytest.raises(InputError, match="no results here"):
        report([tmp_path])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none", "none: No such file or directory"),
        ("bad.jsonl", "bad.jsonl: line 1: expected an object that begins with 'run', found '{\"a\": 1}'"),
        ("empty", "empty: no results here (results.json: No such file or directory)"),
        ("--frobnicate", "See `lightning-clip report --help`"),
    ],
)
def test_report_refuses_what_it_cannot_read(capsys, path, message):
    """A wrong path or file ends `report` with exit code 2 and one line."""
    Path("empty").mkdir()
    Path("bad.jsonl").write_text('{"a": 1}\n', encoding="utf-8")
    assert message in refusal(capsys, "report", path)
