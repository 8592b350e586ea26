"""Two at once: a second writer of a record, a second study in a folder. One gets the place, and loses nothing."""

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lightning_clip import CsvSink, GradientClipping, JsonlSink, NormClip, load_record
from lightning_clip._errors import InputError
from lightning_clip.core import ParameterTotals, RunInfo
from lightning_clip.studies import ResultsFolder, run_study
from tests.support.command import call
from tests.support.studies import tiny_study, written_study
from tests.support.training import Net, loader, quiet_trainer

_FORK: Any = multiprocessing.get_context("fork")
SINKS = {"jsonl": JsonlSink, "csv": CsvSink}


@pytest.mark.parametrize("kind", SINKS)
@pytest.mark.parametrize("where", ["this process", "another process", "a thread"])
@pytest.mark.parametrize("run_id", ["first", "second"])
def test_a_second_writer_of_a_record_is_refused(kind, where, run_id, tmp_path):
    """Of the same run or of another, in whichever process: not one byte of the first one's file changes."""
    first = SINKS[kind](tmp_path / "run")
    first.open(RunInfo(id="first"))
    before = (tmp_path / "run").read_bytes()
    results = _FORK.SimpleQueue()

    def write() -> None:
        try:
            SINKS[kind](tmp_path / "run").open(RunInfo(id=run_id, start_step=5))
            results.put("")
        except InputError as error:
            results.put(str(error))

    starts: dict[str, Callable[..., Any]] = {"another process": _FORK.Process, "a thread": threading.Thread}
    if where in starts:
        other = starts[where](target=write)
        other.start()
        other.join()
    else:
        write()
    assert "another run" in results.get()
    assert (tmp_path / "run").read_bytes() == before
    first.close(RunInfo(id="first"), ParameterTotals())


def trained(path: Path, results: Any, barrier: Any) -> None:
    clipping = GradientClipping(NormClip(0.7), sinks=[JsonlSink(path)], flush_every_n_steps=1)
    barrier.wait()
    quiet_trainer(callbacks=[clipping], max_epochs=3).fit(Net(), loader())
    results.put((clipping.run.id, len(clipping.history)))


@pytest.mark.filterwarnings("ignore:.*JsonlSink is set aside")
def test_of_two_trainings_with_one_record_one_writes_it(tmp_path):
    """Both train to their end, and the file holds the whole record of one of them."""
    results, barrier = _FORK.SimpleQueue(), _FORK.Barrier(2)
    both = [_FORK.Process(target=trained, args=(tmp_path / "run.jsonl", results, barrier)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    ids, steps = zip(*(results.get() for _ in both), strict=True)
    assert steps == (18, 18)
    record = load_record(tmp_path / "run.jsonl")
    assert record.run.id in ids
    assert [step.step for step in record.history] == list(range(18))


def run_until_told(folder: Path, told: Any) -> None:
    """A study whose second run waits for a signal."""
    os.environ["WAIT_FROM_SEED"] = "1"
    models = {"mlp": {"class_path": "tests.support.studies.WaitingMLP"}}
    study = tiny_study(models=models, strategies={"norm": {"class_path": "lightning_clip.NormClip"}})
    run_study(study, ResultsFolder(folder), on_result=lambda result: told.put("one is done"))


@pytest.mark.parametrize("options", [[], ["--resume"]], ids=["new", "resumed"])
def test_a_second_study_in_a_folder_is_refused(options, tmp_path, capsys):
    """It ends with one line, and neither results nor records of the first one change."""
    told = _FORK.SimpleQueue()
    first = _FORK.Process(target=run_until_told, args=(tmp_path / "out", told))
    first.start()
    try:
        assert told.get() == "one is done"
        before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.json*")}
        config = written_study(tmp_path)
        capsys.readouterr()
        assert call("compare", "--config", config, "--output", tmp_path / "out", "--jobs", "1", *options) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "in use" in line or "another process is running a study" in line
        assert before.keys() <= set((tmp_path / "out").rglob("*.json*"))
        assert all(path.read_bytes() == content for path, content in before.items())
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.join()


def test_of_two_studies_that_start_together_one_runs(tmp_path):
    """The other is refused, although the folder was empty when both looked."""
    folder = ResultsFolder(tmp_path / "out")
    with folder.claimed(), pytest.raises(InputError, match="another process is running a study in this folder"):
        run_study(tiny_study(), ResultsFolder(tmp_path / "out"))
    run_study(tiny_study(), folder)
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())["runs"]) == 4
