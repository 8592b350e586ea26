"""The commands `compare` and `report`: what they show, and what they refuse."""

from pathlib import Path

import pytest

from tests.support.command import call, refusal
from tests.support.studies import steps_in, timeless_runs, written_study


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


def test_compare_and_report_show_the_same(tmp_path, capsys):
    """`report DIR` prints what `compare` printed and wrote."""
    assert call("compare", "--config", written_study(tmp_path), "--jobs", "1", "--output", "out") == 0
    compared = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert call("report", "out") == 0
    reported = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    written = Path("out/report.txt").read_text(encoding="utf-8").splitlines()
    assert reported == written
    assert compared[4:-5] == written


def test_the_same_command_gives_the_same_numbers(tmp_path):
    """Two studies with the same seeds differ in nothing but time, in the results and in the records."""
    for output in ("a", "b"):
        assert call("compare", "--config", written_study(tmp_path), "--seeds", "1", "--output", output) == 0
    assert timeless_runs(Path("a")) == timeless_runs(Path("b"))
    for record in Path("a/records").iterdir():
        assert steps_in(record) == steps_in(Path("b/records") / record.name)


def test_one_run_is_reported_from_its_record(tmp_path, capsys):
    """`report FILE.jsonl` prints the report of a run."""
    call("compare", "--config", written_study(tmp_path), "--seeds", "1", "--jobs", "1", "--output", "out")
    capsys.readouterr()
    assert call("report", "out/records/mlp-none-0.jsonl") == 0
    assert capsys.readouterr().out.startswith("Gradient report: MLPRegressor")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config", "none.yaml"], "none.yaml: cannot be read: No such file or directory"),
        (["--config", "nothing"], "nothing: no such study; built in are cliff, gradient-flow, mlp-regression"),
        (["--seeds", "0"], "seeds: "),
        (["--jobs", "two"], "jobs: "),
        (["--frobnicate"], "unrecognized arguments: --frobnicate. See `lightning-clip compare --help`."),
        (["--resume"], "--resume: name the folder"),
        (["--output", "used"], "--output used: there is something in it already; name another folder, or go on with"),
        (["--output", "used/notes.txt"], "--output used/notes.txt: there is something in it already"),
        (["--config", "tiny.yaml", "--output", "used/notes.txt/out"], "used/notes.txt/out"),
    ],
)
def test_compare_refuses_what_it_cannot_use(tmp_path, capsys, options, message):
    """A wrong option ends `compare` with exit code 2 and one line; nothing is run or written."""
    written_study(tmp_path)
    Path("used").mkdir()
    Path("used/notes.txt").write_text("mine", encoding="utf-8")
    assert message in refusal(capsys, "compare", *options)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "tiny.yaml",
        "used",
        "used/notes.txt",
    ]
    assert Path("used/notes.txt").read_text(encoding="utf-8") == "mine"


def test_an_unknown_strategy_is_refused(tmp_path, capsys):
    """A study with a strategy that does not exist says where, before anything is run."""
    config = written_study(tmp_path, strategies={"norm": {"class_path": "NromClip"}})
    line = refusal(capsys, "compare", "--config", config, "--output", "out")
    assert line == f"{config}: strategies.norm: there is no class 'NromClip'"
    assert not Path("out").exists()


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
