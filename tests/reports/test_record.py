"""`RunRecord` and `load_record`: the record of a run as one object."""

import math

import pytest

from lightning_clip import JsonlSink, load_record
from lightning_clip._errors import InputError
from lightning_clip.core import ParameterTotals, RunInfo
from lightning_clip.reports import Evidence, RunRecord, diagnose, render_report, to_text
from tests.reports.runs import exploding
from tests.support.recorded import history_of


def test_a_record_gives_the_report_and_the_diagnosis_of_its_run():
    """`report` and `diagnose` are those of the history and the run info."""
    history, run = exploding()
    record = RunRecord(run, history)
    assert to_text(record.report(), width=100) == to_text(render_report(history, run), width=100)
    assert record.diagnose() == diagnose(Evidence.of(history, run))
    assert record.diagnose()


def test_a_run_is_summarized_once(monkeypatch: pytest.MonkeyPatch):
    """One report needs one summary, however many sections and rules look at it."""
    from lightning_clip.reports import evidence

    calls = []
    summarize = evidence.summarize
    monkeypatch.setattr(evidence, "summarize", lambda *args: calls.append(args) or summarize(*args))
    record = RunRecord(RunInfo(model="M"), history_of([1.0] * 30))
    record.report()
    record.diagnose()
    assert len(calls) == 1


def test_a_file_is_loaded_as_a_record(tmp_path):
    """`load_record` reads what a `JsonlSink` wrote."""
    history = history_of([1.0, math.nan])
    sink = JsonlSink(tmp_path / "run.jsonl")
    sink.open(RunInfo(model="MLPRegressor"))
    sink.write(list(history))
    sink.close(RunInfo(seconds=2.0), ParameterTotals())
    record = load_record(sink.path)
    assert (record.run.model, record.run.seconds, len(record.history)) == ("MLPRegressor", 2.0, 2)
    assert record.diagnose()[0].title == "The gradient is NaN at step 1"


def test_a_file_that_is_no_record_is_refused(tmp_path):
    """The error names the file, the line and what was expected; a missing file is a missing file."""
    path = tmp_path / "notes.txt"
    path.write_text("hello\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"notes.txt: line 1: expected one JSON object, found 'hello'"):
        load_record(path)
    with pytest.raises(FileNotFoundError):
        load_record(tmp_path / "missing.jsonl")
