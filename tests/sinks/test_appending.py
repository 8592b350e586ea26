"""Files that sinks append to: whose they are, and what is left of a file that is refused."""

import json
import os
import sys
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest

from lightning_clip import CsvSink, JsonlSink, read_jsonl
from lightning_clip._errors import InputError
from lightning_clip.core import ParameterTotals, RunInfo, StepRecord

STEP = StepRecord(0, 0, "NoClip()", 4.0, 4.0, None, 1.0, False, True, False)
SINKS = [JsonlSink, CsvSink]


def written(sink, run: RunInfo) -> bytes:
    """The bytes of the file after one session of a run."""
    sink.open(run)
    sink.write([STEP])
    sink.close(run, ParameterTotals())
    return Path(sink.path).read_bytes()


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize(
    "content",
    [
        b"\x00\x01weights" * 40,
        b"notes without a newline",
        b"a,b,c\n1,2,3\n",
        b'{"step": 0}\n',
        b'{"run": 5}\n',
        b'{"run": {"other": 1}}\n',
        b"\n",
        b"[]\n",
    ],
    ids=["binary", "text", "table", "step first", "number", "object", "empty line", "list"],
)
def test_a_file_of_something_else_is_refused_untouched(sink, content, tmp_path):
    """Not one byte of a foreign file changes."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"file: .*(give|expected)"):
        sink(path).open(RunInfo(id="a"))
    assert path.read_bytes() == content


@pytest.mark.parametrize("sink", SINKS)
def test_the_file_of_another_run_is_refused_untouched(sink, tmp_path):
    """A new run never adds to the file of an earlier one, and the error says what to do."""
    before = written(sink(tmp_path / "run"), RunInfo(model="M", id="first"))
    with pytest.raises(InputError, match=r"another run; give \w+ a new path for each run, or remove the file"):
        sink(tmp_path / "run").open(RunInfo(model="M", id="second"))
    assert (tmp_path / "run").read_bytes() == before


@pytest.mark.parametrize("sink", SINKS)
def test_a_resumed_run_adds_to_its_own_file(sink, tmp_path):
    """The same id, from a later step, continues the file."""
    before = written(sink(tmp_path / "run"), RunInfo(model="M", id="first"))
    after = written(sink(tmp_path / "run"), RunInfo(model="M", id="first", start_step=1))
    assert after.startswith(before)
    assert len(after) > len(before)


def test_a_record_without_an_id_is_continued_by_a_resumed_run_only(tmp_path):
    """Records of the first version have no id: a resumed run may add to them, a new one may not."""
    path = tmp_path / "run.jsonl"
    written(JsonlSink(path), RunInfo(model="M"))
    with pytest.raises(InputError, match="another run"):
        JsonlSink(path).open(RunInfo(model="M"))
    written(JsonlSink(path), RunInfo(model="M", start_step=1))
    assert read_jsonl(path)[0].start_step == 1


@pytest.mark.parametrize("sink", SINKS)
def test_a_first_line_that_a_crash_cut_off_is_written_again(sink, tmp_path):
    """Half of a first line of ours is nobody's record."""
    whole = written(sink(tmp_path / "whole"), RunInfo(model="M", id="a"))
    (tmp_path / "torn").write_bytes(whole.split(b"\n")[0][:20])
    assert written(sink(tmp_path / "torn"), RunInfo(model="M", id="a")) == whole


def test_a_long_first_line_is_checked_whole(tmp_path):
    """The line of a run with many parameters is longer than a block."""
    run = RunInfo(model="M", id="a", numels={f"layer.{i}.weight": 1 for i in range(20_000)})
    written(JsonlSink(tmp_path / "run.jsonl"), run)
    assert json.loads((tmp_path / "run.jsonl").read_text(encoding="utf-8").splitlines()[0])["run"]["id"] == "a"
    run.start_step = 1
    written(JsonlSink(tmp_path / "run.jsonl"), run)


def hold(path: Path, is_open, may_end) -> None:
    sink = JsonlSink(path)
    sink.open(RunInfo(id="a"))
    is_open.set()
    may_end.wait(30)
    sink.close(RunInfo(id="a"), ParameterTotals())


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked on Windows")
@pytest.mark.parametrize("in_process", [True, False], ids=["same process", "other process"])
def test_two_writers_never_share_a_file(in_process, tmp_path):
    """While one sink has a file open, another one is refused; afterwards it is not."""
    path = tmp_path / "run.jsonl"
    context = get_context("fork")
    is_open, may_end = context.Event(), context.Event()
    other = context.Process(target=partial(hold, path, is_open, may_end))
    first = JsonlSink(path)
    if in_process:
        first.open(RunInfo(id="a"))
    else:
        other.start()
        assert is_open.wait(30)
    size = os.path.getsize(path)
    with pytest.raises(InputError, match=r"run.jsonl: another run is writing this file"):
        JsonlSink(path).open(RunInfo(id="a", start_step=1))
    assert os.path.getsize(path) == size
    if in_process:
        first.close(RunInfo(id="a"), ParameterTotals())
    else:
        may_end.set()
        other.join(30)
    written(JsonlSink(path), RunInfo(id="a", start_step=1))
