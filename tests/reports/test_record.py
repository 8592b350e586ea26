"""`RunRecord` and `load_record`: the record of a run as one object."""

import math
from pathlib import Path

import pytest

from lightning_clip import JsonlSink, load_record
from lightning_clip._errors import InputError
from lightning_clip.core import ParameterTotals, RunInfo
from lightning_clip.reports import Evidence, RunRecord, diagnose, render_report, to_text
from lightning_clip.reports.record import load_records
from tests.reports.runs import exploding
from tests.support.recorded import history_of, record


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


def written(path: Path, norms, *, optimizers: int = 1, start: int = 0, losses=None) -> Path:
    """A file with one step per norm; optimizers take turns."""
    sink = JsonlSink(path)
    sink.open(RunInfo(model="M", id="7", start_step=start))
    sink.write(
        [
            record(step, norm, optimizer=step % optimizers, loss=losses[step] if losses else 1.0)
            for step, norm in enumerate(norms, start)
        ]
    )
    sink.close(RunInfo(), ParameterTotals())
    return path


@pytest.mark.parametrize("optimizers", [1, 2])
def test_a_difference_before_the_window_is_found_in_the_files(tmp_path, optimizers):
    """The exact step, although the histories only know its stretch, and a lower norm does not change a peak."""
    norms = [2.0 + math.sin(step) for step in range(11_000)]
    other = [*norms]
    other[1234] = 0.5
    one = load_record(written(tmp_path / "a.jsonl", norms, optimizers=optimizers))
    two = load_record(written(tmp_path / "b.jsonl", other, optimizers=optimizers))
    (found,) = one.compare(two).differences
    assert (found.first_step, found.last_step, found.what) == (1234, 1234, "norm before clipping")
    assert found.values == (norms[1234], 0.5)
    if optimizers == 1:
        assert "at step 1,234" in one.compare(two).to_html()
        assert one.compare(one).differences == (None,)


def test_a_step_that_was_repeated_after_a_resume_counts_once(tmp_path):
    """The steps of the later session are those that are compared."""
    norms = [2.0 + math.sin(step) for step in range(11_000)]
    plain = load_record(written(tmp_path / "a.jsonl", norms))
    torn = written(tmp_path / "b.jsonl", [*norms[:500], 77.0, 78.0])
    written(torn, norms[500:], start=500)
    assert plain.compare(load_record(torn)).differences == (None,)
    norms[600] = 9.0
    changed = written(tmp_path / "c.jsonl", [*norms[:500], 77.0])
    written(changed, norms[500:], start=500)
    (found,) = plain.compare(load_record(changed)).differences
    assert found.first_step == 600


def test_a_loss_that_differs_before_the_window_is_found(tmp_path):
    """Peaks of norms would never show it; NaN in both is no difference."""
    losses = [1.0] * 11_000
    losses[10] = math.nan
    one = load_record(written(tmp_path / "a.jsonl", [1.0] * 11_000, losses=losses))
    losses[20] = 3.0
    two = load_record(written(tmp_path / "b.jsonl", [1.0] * 11_000, losses=losses))
    (found,) = one.compare(two).differences
    assert (found.first_step, found.what, found.values) == (20, "loss", (1.0, 3.0))


def test_long_files_are_read_at_the_same_time(tmp_path, monkeypatch):
    """With the same result, in the same order, and the same error for a broken file."""
    monkeypatch.setattr("lightning_clip.reports.record._LONG", 0)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    paths = [written(tmp_path / f"{k}.jsonl", [1.0 + k] * 30) for k in range(3)]
    assert [one.history.aggregates[0].max for one in load_records(paths)] == [1.0, 2.0, 3.0]
    with paths[1].open("a") as file:
        file.write("{}\n")
    with pytest.raises(InputError, match=r"1\.jsonl: line 33: expected"):
        load_records(paths)
