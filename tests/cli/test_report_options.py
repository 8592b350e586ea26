"""`lightning-clip report` on records: side by side, JSON, exit code, HTML, figures, width, following a run."""

import io
import json
import math
import threading
import time

import pytest
from rich.console import Console

from lightning_clip import JsonlSink
from lightning_clip.cli.follow import follow
from lightning_clip.core import ParameterTotals, RunInfo
from tests.support.command import call, refusal
from tests.support.recorded import history_of

CALM = [1.0 + step % 3 for step in range(40)]


def write(path, norms, *, ends=True):
    sink = JsonlSink(path)
    sink.open(RunInfo(model="Tiny", id=path.stem))
    sink.write(list(history_of(norms)))
    if ends:
        sink.close(RunInfo(seconds=2.0), ParameterTotals())
    return path


@pytest.fixture
def files(tmp_path):
    return write(tmp_path / "calm.jsonl", CALM), write(tmp_path / "wild.jsonl", [*CALM, math.nan])


def test_records_are_shown_side_by_side(files, capsys):
    """They are called by their files, by the whole path where two have the same name."""
    assert call("report", *files, "--width", "70") == 0
    out = capsys.readouterr().out
    assert out.startswith("Comparison of calm, wild")
    assert "wild: the same as calm, bit for bit" in out
    assert all(len(line) <= 70 and line == line.rstrip() for line in out.splitlines())
    twin = files[0].parent / "twin"
    twin.mkdir()
    assert call("report", files[0], write(twin / "calm.jsonl", CALM)) == 0
    assert f"{twin / 'calm.jsonl'}"[-20:] in capsys.readouterr().out.replace("\n", "").replace(" ", "")


def test_a_record_is_not_compared_with_itself(files, capsys):
    """The same path twice would be one entry of `--json`."""
    assert "calm.jsonl: the same record twice; name each once" in refusal(capsys, "report", files[0], *files)


def test_the_number_of_parameters_is_an_option(tmp_path, capsys):
    """In the text and on the page."""
    shares = {f"w{k}": 1 / 30 for k in range(30)}
    history = history_of([1.0] * 3, shares=shares)
    sink = JsonlSink(tmp_path / "run.jsonl")
    sink.open(RunInfo(model="Tiny"))
    sink.write(list(history))
    sink.close(RunInfo(), history.parameters)
    assert call("report", sink.path, "--max-parameters", "2", "--html", tmp_path / "page.html") == 0
    assert "… and 28 more, 93.3% combined" in capsys.readouterr().out
    assert "… and 28 more." in (tmp_path / "page.html").read_text()


def test_json_is_what_the_report_says(files, capsys):
    """Plain data with a version; NaN is null; several records give a comparison."""
    assert call("report", files[1], "--json") == 0
    one = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert (one["format"], one["version"], one["run"]["model"]) == ("lightning-clip record", 1, "Tiny")
    assert one["optimizers"][0]["steps"] == 41
    assert one["findings"][0]["severity"] == "critical"
    assert one["findings"][0]["title"] == "The gradient is NaN at step 40"
    assert call("report", *files, "--json") == 0
    both = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert list(both["runs"]) == ["calm", "wild"]
    assert both["differences"] == {"wild": None}
    assert both["findings"][0]["runs"] == ["wild"]


@pytest.mark.parametrize(("level", "codes"), [("critical", (0, 1)), ("warning", (0, 1))])
def test_a_finding_can_fail_a_pipeline(files, level, codes):
    """The exit code is 1 only if a run has a finding that severe."""
    assert tuple(call("report", path, "--fail-on", level) for path in files) == codes
    assert call("report", *files, "--fail-on", level) == 1


def test_a_page_and_figures_are_written(files, tmp_path, capsys):
    """Again over our own files, and never over those of somebody else."""
    for _ in range(2):
        assert call("report", *files, "--html", tmp_path / "both.html", "--figures", tmp_path / "pictures") == 0
    assert (tmp_path / "both.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["calm-wild.png", "calm-wild.svg"]
    capsys.readouterr()
    theirs = tmp_path / "theirs.html"
    theirs.write_text("<p>mine</p>", encoding="utf-8")
    assert "theirs.html: the file was not written by lightning-clip" in refusal(
        capsys, "report", files[0], "--html", theirs
    )
    assert theirs.read_text(encoding="utf-8") == "<p>mine</p>"
    picture = tmp_path / "pictures" / "calm.png"
    picture.write_bytes(b"mine")
    assert "calm.png was not written by lightning-clip" in refusal(
        capsys, "report", files[0], "--figures", tmp_path / "pictures"
    )
    assert picture.read_bytes() == b"mine"


def test_the_folder_of_a_study_has_one_report(files, tmp_path, capsys):
    """The options for records are refused with a record that could be meant."""
    (tmp_path / "out" / "records").mkdir(parents=True)
    message = refusal(capsys, "report", tmp_path / "out", "--json")
    assert "the folder of a study has one report, which is text. Name records of runs" in message
    assert "--follow takes one record" in refusal(capsys, "report", *files, "--follow")
    assert "--follow takes the record of one run" in refusal(capsys, "report", tmp_path / "out", "--follow")


def test_a_run_is_followed_to_its_end(tmp_path, capsys):
    """The report is there once the run has ended, and the call returns."""
    path = tmp_path / "run.jsonl"
    follower = threading.Thread(target=follow, args=(path,), kwargs={"width": 80, "seconds": 0.01}, daemon=True)
    follower.start()
    sink = JsonlSink(path)
    sink.open(RunInfo(model="Tiny"))
    for record in history_of(CALM):
        sink.write([record])
    time.sleep(0.05)
    assert follower.is_alive()
    sink.close(RunInfo(seconds=2.0), ParameterTotals())
    follower.join(timeout=60)
    assert not follower.is_alive()
    assert "40 optimizer steps in 2 s" in capsys.readouterr().out


def test_a_terminal_shows_the_beginning_until_the_run_ends(tmp_path, monkeypatch):
    """A report that is higher than the screen is redrawn in place: its end is printed once, not at every look."""
    out = io.StringIO()
    screen = Console(file=out, force_terminal=True, width=80, height=12, legacy_windows=False, _environ={})
    monkeypatch.setattr("lightning_clip.cli.follow.console_of", lambda width: screen)
    path = tmp_path / "run.jsonl"
    follower = threading.Thread(target=follow, args=(path,), kwargs={"seconds": 0.01}, daemon=True)
    sink = JsonlSink(path)
    sink.open(RunInfo(model="Tiny"))
    steps = list(history_of(CALM))
    sink.write(steps[:20])
    follower.start()
    while "Gradient report" not in out.getvalue():
        assert follower.is_alive()
        time.sleep(0.01)
    assert "Bad steps" not in out.getvalue()
    sink.write(steps[20:])
    sink.close(RunInfo(seconds=2.0), ParameterTotals())
    follower.join(timeout=60)
    assert out.getvalue().count("Bad steps") == 1
