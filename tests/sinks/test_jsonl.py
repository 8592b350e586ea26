"""`JsonlSink` and `read_jsonl`: the record of a run on disk, and back."""

import json
import math
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from lightning_clip.core import Event, History, Measurement, RunInfo
from lightning_clip.core.record.parameter_totals import ParameterTotals
from lightning_clip.sinks import JsonlSink, MeasurementSink, Sink, read_jsonl
from tests.support.jsonl_records import RUN, SHARES, records, write
from tests.support.recorded import record

pytestmark = pytest.mark.usefixtures("each_parser")


def assert_same(actual: History, expected: History) -> None:
    """Compare every total, record, event and measurement; strings make NaN equal to NaN."""
    ours, theirs = actual.state_dict(), expected.state_dict()
    assert str(ours["aggregates"]) == str(theirs["aggregates"])
    assert str(ours["layers"]) == str(theirs["layers"])
    assert str(ours["records"]) == str(theirs["records"])
    assert ours["events"] == theirs["events"]
    assert str(ours["measurements"]) == str(theirs["measurements"])


def test_the_history_survives_the_file(tmp_path: Path):
    """Totals, quantiles, trajectory, window, parameters and events are the same, bit for bit."""
    path = tmp_path / "deep" / "run.jsonl"
    event = Event(7, "switch", "NoClip() → NormClip(1.0)", {"norm": 41.0, "to": "NormClip"})
    expected = write(path, records(0, 320), events=(event,))
    run, actual = read_jsonl(path)
    assert run == RunInfo("MLPRegressor", "NormClip(max_norm=1.0)", "SGD(lr=0.01)", {"w": 20, "b": 5}, 2.5, "one")
    assert_same(actual, expected)


def test_non_finite_numbers_are_strings_in_standard_json(tmp_path: Path):
    """Every line parses without Python's NaN extension, and the numbers are read back."""
    path = tmp_path / "run.jsonl"
    bad = [record(0, 2.0, shares=SHARES), record(1, math.nan), record(2, math.inf), record(3, -math.inf)]
    event = Event(1, "stop", "stopped", {"norm": math.inf})
    expected = write(path, bad, events=(event,))
    lines = [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]
    assert [line["norm_before"] for line in lines if "step" in line] == [2.0, "nan", "inf", "-inf"]
    assert_same(read_jsonl(path)[1], expected)


def test_the_first_bad_parameters_are_named_once(tmp_path: Path):
    """Only the first bad step has the names of its bad parameters."""
    path = tmp_path / "run.jsonl"
    steps = [record(0, 1.0, shares=SHARES), *(record(i, math.nan, shares=SHARES) for i in (1, 2))]
    steps[1].params.before[1] = 0.5
    expected = write(path, steps)
    assert [line.count("bad_params") for line in path.read_text().splitlines()[1:4]] == [0, 1, 0]
    assert read_jsonl(path)[1].aggregates[0].first_bad_names == ["w"] == expected.aggregates[0].first_bad_names


def test_a_step_line_has_plain_keys(tmp_path: Path):
    """The keys of a step are the fields of `StepRecord`; `watched` is present only if it is not empty."""
    path = tmp_path / "run.jsonl"
    watching = record(1, 1.0)
    watching.watched = {"AutoClip()": 0.5}
    write(path, [record(0, 1.0), watching])
    first, second = (json.loads(line) for line in path.read_text().splitlines()[1:3])
    assert " ".join(first) == (
        "step optimizer strategy norm_before norm_after threshold clip_coef clipped finite skipped loss"
    )
    assert second["watched"] == {"AutoClip()": 0.5}
    assert read_jsonl(path)[1][1].watched == {"AutoClip()": 0.5}


def test_batches_and_learning_rate_survive_the_file(tmp_path: Path):
    """Epoch, batches, learning rate and largest gradient are those that were written; unknown ones are left out."""
    placed = replace(record(0, 1.0), epoch=3, first_batch=16, batch=19, learning_rate=0.1, top_param="w", top_share=0.8)
    alone = replace(placed, step=1, first_batch=20, batch=20)
    unknown = record(2, 1.0)
    path = tmp_path / "run.jsonl"
    write(path, [placed, alone, unknown])
    assert list(read_jsonl(path)[1]) == [placed, alone, unknown]
    lines = [json.loads(line) for line in path.read_text().splitlines()[1:4]]
    assert (lines[0]["first_batch"], lines[0]["batch"]) == (16, 19)
    assert "first_batch" not in lines[1]
    assert list(lines[2])[-1] == "loss"


def test_each_batch_of_lines_is_on_disk_immediately(tmp_path: Path):
    """The file can be read while the run continues."""
    sink = JsonlSink(tmp_path / "run.jsonl")
    sink.open(RUN)
    sink.write(records(0, 3))
    assert read_jsonl(sink.path)[1].aggregates[0].steps == 3
    sink.close(RUN, ParameterTotals())


def test_steps_repeated_after_a_resume_replace_the_first_ones(tmp_path: Path):
    """If a run of 100 steps resumes from step 80, each step counts once, with its later record."""
    path = tmp_path / "run.jsonl"
    first, second = records(0, 100), records(80, 150, level=1000.0)
    write(path, first, second)
    expected = History()
    expected.extend(first[:80] + second)
    actual = read_jsonl(path)[1]
    assert actual.aggregates[0].steps == 150
    assert str(actual.state_dict()["aggregates"]) == str(expected.state_dict()["aggregates"])
    assert str(actual.state_dict()["records"]) == str(expected.state_dict()["records"])


def test_each_optimizer_is_replaced_from_its_own_step(tmp_path: Path):
    """Optimizers may resume at different steps."""
    path = tmp_path / "run.jsonl"
    once = [record(step, 1.0, optimizer=0) for step in range(10)] + [record(step, 1.0, optimizer=1) for step in (0, 5)]
    again = [record(5, 2.0, optimizer=1), *(record(step, 2.0, optimizer=0) for step in range(8, 12))]
    write(path, once, again)
    aggregates = read_jsonl(path)[1].aggregates
    assert (aggregates[0].steps, aggregates[1].steps) == (12, 2)


def test_events_after_the_resumed_step_are_dropped(tmp_path: Path):
    """If the run resumes from step 80, an event at step 90 is dropped, and one at step 10 is kept."""
    path = tmp_path / "run.jsonl"
    write(path, records(0, 95), events=(Event(10, "switch", "a"), Event(90, "stop", "b")))
    write(path, records(80, 90))
    assert [event.step for event in read_jsonl(path)[1].events] == [10]


def test_measurements_survive_the_file(tmp_path: Path):
    """Strings, numbers and lists of both are read back, including NaN and infinity, from standard JSON."""
    path = tmp_path / "run.jsonl"
    data = {"verdict": "exploding", "rate": math.nan, "norms": [1.0, 1e-310, -math.inf], "layers": ["a", "b"], "lag": 7}
    expected = write(path, records(0, 5), measurements=(Measurement(3, "flow", data), Measurement(4, "flow")))
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    assert_same(read_jsonl(path)[1], expected)
    assert len(expected.measurements.of("flow")) == 2


def test_measurements_after_the_resumed_step_are_dropped(tmp_path: Path):
    """If the run resumes from step 80, its new measurement replaces the old ones, and that of step 10 is kept."""
    path = tmp_path / "run.jsonl"
    write(path, records(0, 95), measurements=tuple(Measurement(step, "flow", {"try": 1.0}) for step in (10, 80, 90)))
    write(path, records(80, 90), measurements=(Measurement(80, "flow", {"try": 2.0}),))
    found = read_jsonl(path)[1].measurements.of("flow")
    assert [(one.step, one.data["try"]) for one in found] == [(10, 1.0), (80, 2.0)]


def test_the_last_totals_are_valid(tmp_path: Path):
    """If a file has several lines of totals, the last one counts."""
    path = tmp_path / "run.jsonl"
    expected = write(path, records(0, 30), records(30, 60))
    assert path.read_text().count('"totals"') == 2
    assert str(read_jsonl(path)[1].parameters.state_dict()) == str(expected.parameters.state_dict())


@pytest.fixture(scope="module")
def long_records(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Records of 11,000 and of 22,000 steps: both longer than the window of a history."""
    paths = [tmp_path_factory.mktemp("long") / f"{steps}.jsonl" for steps in (11_000, 22_000)]
    for path in paths:
        write(path, [record(step, 1.5, max_norm=1.0) for step in range(int(path.stem))])
    return paths


def test_memory_does_not_grow_with_the_length_of_the_run(long_records: list[Path]):
    """Reading 22,000 steps takes at most 10% more memory than reading 11,000."""
    peaks = []
    for path in long_records:
        tracemalloc.start()
        read_jsonl(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_it_is_a_sink(tmp_path: Path):
    """It has the four methods that callbacks need, and the fifth for measurements."""
    assert isinstance(JsonlSink(tmp_path / "run.jsonl"), Sink)
    assert isinstance(JsonlSink(tmp_path / "run.jsonl"), MeasurementSink)
