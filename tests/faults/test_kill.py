"""SIGKILL in the middle of a run: resuming gives the weights and the record of a run that was never stopped."""

import random
import shutil
import signal
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_clip import load_record
from tests.support.cells import sampled
from tests.support.lives import STEPS, events_of, in_a_process, live, signaled_after
from tests.support.values import assert_same_values

POINTS = 20
RANDOM = random.Random(0)
FRACTIONS = [RANDOM.uniform(0.02, 0.99) for _ in range(POINTS)]  # of all calls of the run


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The folder of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert in_a_process(partial(live, folder)) == 0
    return folder


@pytest.fixture(scope="module")
def calls(tmp_path_factory) -> int:
    """How many calls the whole run makes."""
    return events_of(partial(live, tmp_path_factory.mktemp("counted")))


def timeless(value: Any) -> Any:
    """The value without what differs between any two runs."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in ("seconds", "run_id")}
    return value


def finish(folder: Path) -> None:
    """Start the run again, as its user would: without a checkpoint, the record of the first attempt has to go."""
    if not list(folder.glob("*.ckpt")):
        (folder / "run.jsonl").unlink(missing_ok=True)
    assert in_a_process(partial(live, folder)) == 0


def assert_nothing_is_lost(folder: Path, whole: Path) -> None:
    final, expected = (torch.load(one / "final.pt", weights_only=True) for one in (folder, whole))
    assert_same_values(timeless(final), timeless(expected))
    record, complete = (load_record(one / "run.jsonl") for one in (folder, whole))
    assert [asdict(step) for step in record.history] == [asdict(step) for step in complete.history]
    assert len(record.history) == STEPS
    assert [asdict(event) for event in record.history.events] == [asdict(event) for event in complete.history.events]
    assert_same_values(record.history.parameters.state_dict(), complete.history.parameters.state_dict())


@pytest.mark.parametrize("fraction", sampled(FRACTIONS), ids="{:.3f}".format)
def test_a_killed_run_resumes_as_if_it_had_not_been(whole, calls, fraction, tmp_path):
    """Killed at any call of any function, in Lightning, torch or this package."""
    assert signaled_after(partial(live, tmp_path), int(fraction * calls)) == -signal.SIGKILL
    finish(tmp_path)
    assert_nothing_is_lost(tmp_path, whole)


@pytest.mark.parametrize("fractions", sampled([tuple(sorted(FRACTIONS[n::10])) for n in range(10)]), ids=str)
def test_a_run_killed_twice_resumes_as_if_it_had_not_been(whole, calls, fractions, tmp_path):
    """The second attempt, from a checkpoint of the first, is killed too."""
    for fraction in fractions:
        code = signaled_after(partial(live, tmp_path), int(fraction * calls))
        assert code in (-signal.SIGKILL, 0)  # what is left after the first kill may be too short for the second
        if not list(tmp_path.glob("*.ckpt")):
            (tmp_path / "run.jsonl").unlink(missing_ok=True)
    finish(tmp_path)
    assert_nothing_is_lost(tmp_path, whole)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory, calls) -> Path:
    """The folder of a run that was killed between two checkpoints."""
    folder = tmp_path_factory.mktemp("interrupted")
    assert signaled_after(partial(live, folder), int(0.7 * calls)) == -signal.SIGKILL
    steps = [record.step for record in load_record(folder / "run.jsonl").history]
    assert steps[-1] > int(sorted(folder.glob("*.ckpt"))[-1].stem[-4:]) > 0
    return folder


def copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to, dirs_exist_ok=True)
    return to


@pytest.mark.parametrize("fraction", sampled([n / POINTS for n in range(POINTS)]))
def test_a_torn_last_line_is_repaired(whole, interrupted, fraction, tmp_path):
    """The last line ends anywhere: nothing of it, only its newline missing, or in between."""
    folder = copied(interrupted, tmp_path)
    record = folder / "run.jsonl"
    content = record.read_bytes()
    last = content.rindex(b"\n", 0, -1) + 1
    record.write_bytes(content[: last + int(fraction * (len(content) - last))])
    finish(folder)
    assert_nothing_is_lost(folder, whole)


@pytest.mark.parametrize("fraction", sampled([n / POINTS for n in range(POINTS)]))
def test_a_torn_checkpoint_is_refused_and_harms_nothing(whole, interrupted, fraction, tmp_path):
    """Loading it fails before the record is touched; the run resumes from the checkpoint before it."""
    folder = copied(interrupted, tmp_path)
    latest = sorted(folder.glob("*.ckpt"))[-1]
    latest.write_bytes(latest.read_bytes()[: int(fraction * latest.stat().st_size)])
    before = (folder / "run.jsonl").read_bytes()
    assert in_a_process(partial(live, folder)) == 1
    assert (folder / "run.jsonl").read_bytes() == before
    latest.unlink()
    finish(folder)
    assert_nothing_is_lost(folder, whole)
