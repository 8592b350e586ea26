"""Destinations that fail: the training goes on, one warning says so, and everything else keeps the whole record."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest

from lightning_clip import CsvSink, GradientClipping, JsonlSink, NormClip, load_record
from lightning_clip.core import Event, Measurement, RunInfo, StepRecord
from lightning_clip.core.record.parameter_totals import ParameterTotals
from lightning_clip.sinks.sink import Sink
from tests.support.cells import matrix
from tests.support.training import ManualNet, Net, TwoOptimizers, assert_same_weights, loader, quiet_trainer

resource = pytest.importorskip("resource")

MAKE: dict[str, Callable[[Path], JsonlSink | CsvSink]] = {
    "jsonl": lambda folder: JsonlSink(folder / "run.jsonl"),
    "csv": lambda folder: CsvSink(folder / "run.csv"),
}


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """A file system of 4 KiB that is full; needs the permission to mount one."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        (folder / "taken").write_bytes(b"x" * 4096)
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def size_limit(folder: Path) -> Iterator[None]:
    """The kernel refuses to let a file grow beyond 1000 bytes; the last write before stops in the middle."""
    folder.mkdir()
    limits, compiles = resource.getrlimit(resource.RLIMIT_FSIZE), sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # a compiled file cut short would break every later import
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        sys.dont_write_bytecode = compiles


@contextmanager
def no_permission(folder: Path) -> Iterator[None]:
    """A folder in which this user may not create files; root becomes somebody else for as long."""
    folder.mkdir(mode=0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@contextmanager
def under_a_file(folder: Path) -> Iterator[None]:
    """The folder's place is taken by a file."""
    folder.write_text("somebody's notes")
    yield
    assert folder.read_text() == "somebody's notes"


@contextmanager
def a_folder(folder: Path) -> Iterator[None]:
    """The file's place is taken by a folder."""
    for name in ("run.jsonl", "run.csv"):
        (folder / name).mkdir(parents=True)
    yield


@contextmanager
def somebody_elses_file(folder: Path) -> Iterator[None]:
    """The path holds a file that no sink wrote; it stays as it is."""
    folder.mkdir()
    for name in ("run.jsonl", "run.csv"):
        (folder / name).write_bytes(b"weights\0" * 50)
    yield
    assert {path.read_bytes() for path in folder.iterdir()} == {b"weights\0" * 50}


PLACES = {
    place.__name__: place
    for place in (full_disk, size_limit, no_permission, under_a_file, a_folder, somebody_elses_file)
}
MODULES = {"automatic": Net, "manual": ManualNet, "two optimizers": TwoOptimizers}


class Kept:
    """A healthy sink, in memory."""

    def __init__(self) -> None:
        self.records: list[StepRecord] = []
        self.closed = 0

    def open(self, run: RunInfo) -> None: ...

    def write(self, records: Sequence[StepRecord]) -> None:
        self.records += [replace(record, params=None) for record in records]  # as in the history

    def event(self, event: Event) -> None: ...

    def measurement(self, measurement: Measurement) -> None: ...

    def close(self, run: RunInfo, parameters: ParameterTotals) -> None:
        self.closed += 1


class Failing(Kept):
    """Raises in one of its methods."""

    def __init__(self, method: str, error: Exception) -> None:
        super().__init__()

        def fail(*args: Any) -> None:
            raise error

        setattr(self, method, fail)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter, unlike that of pytest."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def fit(module: str, sinks: Sequence[Sink], *others: pl.Callback) -> tuple[pl.LightningModule, GradientClipping]:
    clipping = GradientClipping(NormClip(0.7), sinks=sinks, flush_every_n_steps=2)
    net = MODULES[module]()
    quiet_trainer(callbacks=[clipping, *others]).fit(net, loader())
    return net, clipping


@cache
def undisturbed(module: str) -> tuple[pl.LightningModule, GradientClipping]:
    return fit(module, [])


def assert_only_it_is_lost(module: str, broken: Sink, *others: pl.Callback, times: int = 1) -> None:
    """Weights, history and a healthy sink are those of a run without the broken one, and one warning names it."""
    healthy = Kept()
    with pytest.warns(UserWarning, match="is set aside") as caught:
        net, clipping = fit(module, [broken, healthy], *others)
    told = [str(one.message) for one in caught if "is set aside" in str(one.message)]
    assert len(told) == times
    assert all(line.startswith(f"{type(broken).__name__} is set aside, and the training goes on") for line in told)
    expected, alone = undisturbed(module)
    assert_same_weights(net, expected)
    assert list(clipping.history) == list(alone.history) == healthy.records
    assert healthy.closed == 1


@pytest.mark.parametrize(("place", "kind", "module"), matrix(PLACES, MAKE, MODULES))
def test_a_place_that_cannot_be_written(kind, place, module, folder):
    """The disk is full, or the place forbidden or taken: the file is set aside."""
    with PLACES[place](folder / "place"):
        assert_only_it_is_lost(module, MAKE[kind](folder / "place"))


class AtStep(pl.Callback):
    """Does something to a sink in the middle of the run."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.action = action

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 6:
            self.action()


@pytest.mark.parametrize(
    ("fault", "kind", "module"), matrix(["folder removed", "file closed", "sink closed"], MAKE, MODULES)
)
def test_a_file_that_is_taken_away_in_the_middle(kind, fault, module, folder):
    """The folder is removed, or somebody closes the file or the sink."""
    sink = MAKE[kind](folder / "place")
    actions = {
        "folder removed": lambda: shutil.rmtree(folder / "place"),
        "file closed": lambda: sink._file.close(),
        "sink closed": lambda: sink.close(RunInfo(), ParameterTotals()),
    }
    assert_only_it_is_lost(module, sink, AtStep(actions[fault]))


ERRORS = {
    "no space": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "ValueError": ValueError("mine"),
    "MemoryError": MemoryError(),
    "several lines": RuntimeError("first\nsecond"),
}


@pytest.mark.parametrize(("error", "method", "module"), matrix(ERRORS, ["open", "write", "close"], MODULES))
def test_a_sink_of_the_user_that_raises(module, method, error):
    """Whatever it raises, in whichever of its methods."""
    assert_only_it_is_lost(module, Failing(method, ERRORS[error]))


@pytest.mark.parametrize("kind", MAKE)
def test_a_file_is_complete_up_to_the_failure_and_can_be_written_again(kind, folder):
    """What was written before is readable, and the file is not left locked: a new run may use the place."""
    with size_limit(folder / "place"), pytest.warns(UserWarning, match="is set aside"):
        fit("automatic", [MAKE[kind](folder / "place")])
    if kind == "jsonl":
        steps = [record.step for record in load_record(folder / "place" / "run.jsonl").history]
        assert steps == list(range(len(steps)))
        assert steps
    shutil.rmtree(folder / "place")
    fit("automatic", [again := MAKE[kind](folder / "place")])
    assert Path(again.path).read_text().count("NormClip(") >= 12
