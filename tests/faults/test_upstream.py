"""Somebody else's tests with our callbacks on every Trainer: samples of them, and the comparison itself."""

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.support import fresh, upstream

SAMPLES = Path(__file__).parent / "upstream_samples"


@pytest.fixture(autouse=True)
def _forked(monkeypatch):
    """Each run in a process of its own, in which Lightning has been imported already."""
    monkeypatch.setattr(upstream, "python", lambda arguments, cwd: fresh.run(arguments, cwd, timeout=600))


@pytest.mark.parametrize(
    ("chosen", "least"),
    [
        ("mock or fast_dev_run or no_optimizer or (lr_find and not every)", 15),
        pytest.param("", 100, marks=pytest.mark.slow),
    ],
    ids=["some", "all"],
)
def test_tests_in_the_style_of_lightning_pass_with_our_callbacks(chosen, least):
    """Tuners, mocks, several fits, odd loops and loggers: nothing fails that is not listed with a reason."""
    ours = upstream.run("ours", SAMPLES, ["-k", chosen])
    known = upstream.known()
    assert not [test for test in ours.failed() if not any(fnmatchcase(test, pattern) for pattern in known)]
    assert ours.trainers >= least
    assert len(ours.by_test) >= least


TESTS = """
import os
import warnings
from pathlib import Path

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

runs = Path(__file__).with_name("runs")


@pytest.fixture
def trainer(tmp_path):
    return Trainer(default_root_dir=tmp_path, fast_dev_run=True, accelerator="cpu", enable_progress_bar=False)


def test_passes(trainer):
    trainer.fit(BoringModel())


def test_forbids_any_callback(trainer):
    assert len(trainer.callbacks) <= 2


def test_forbids_ours(trainer):
    assert "GradientMonitor" not in {type(one).__name__ for one in trainer.callbacks}


def test_ends_the_process_with_ours(trainer):
    if "GradientMonitor" in {type(one).__name__ for one in trainer.callbacks}:
        os._exit(3)


def test_ends_the_process_with_ours_is_how_this_name_begins(trainer):
    assert len(trainer.callbacks) <= 2


@pytest.mark.flaky(reruns=3)
def test_has_a_mark_of_a_plugin(trainer): ...


def test_gets_a_warning_that_lightning_does_not_know():
    warnings.warn("newer than Lightning", FutureWarning)


def test_fails_at_its_second_run(trainer):
    runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
    assert len(runs.read_text()) != 2


def test_is_listed_with_a_reason(trainer):
    assert len(trainer.callbacks) <= 2


def test_fails_always(trainer):
    assert False


@pytest.mark.skip
def test_is_skipped(trainer): ...
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of tests with the strict configuration of Lightning."""
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\nfilterwarnings = error::FutureWarning\n")
    (tmp_path / "known").write_text("# comment\n*is_listed*  # counts callbacks\n")
    monkeypatch.setattr(upstream, "KNOWN", tmp_path / "known")
    monkeypatch.setattr(upstream, "LOGS", tmp_path / "logs")
    return folder


@pytest.mark.slow
def test_the_comparison_tells_what_is_new_and_why(folder, capsys):
    """What also fails alone, or not again, is not new; what fails with callbacks of nobody has that as its reason."""
    (folder / "test_a.py").write_text(TESTS)
    (folder / "test_b.py").write_text("import a_package_that_is_missing")
    assert upstream.main([str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines[:3]]
    assert [row[:-1] for row in rows[1:]] == [["none", "9", "1", "1", "1", "0"], ["ours", "3", "7", "1", "1", "8"]]
    assert lines[3] == "not read: test_b.py  # ModuleNotFoundError: No module named 'a_package_that_is_missing'"
    assert sorted(line.replace("test_a.py::test_", "").partition(" in {")[0] for line in lines[4:-1]) == [
        "ends_the_process_with_ours  # NEW FAILURE: the process ended",
        f"ends_the_process_with_ours_is_how_this_name_begins  # {upstream.FORBIDS}",
        f"forbids_any_callback  # {upstream.FORBIDS}",
        "forbids_ours  # NEW FAILURE: AssertionError: assert 'GradientMonitor' not",
        "is_listed_with_a_reason  # counts callbacks",
    ]
    assert lines[-1].startswith(
        "10 tests with our callbacks on 8 Trainers: 5 fail only with them, 2 of these without a"
    )


def test_when_most_tests_fail_without_callbacks_too_nothing_is_compared(folder, capsys):
    (folder / "test_a.py").write_text("def test_a(): assert False")
    assert upstream.main([str(folder)]) == 1
    assert "Most tests fail without our callbacks too, so this compares nothing" in capsys.readouterr().out


def test_a_folder_has_to_be_named(capsys, tmp_path):
    """Without one, one line says which."""
    assert upstream.main([]) == upstream.main([""]) == upstream.main([str(tmp_path / "missing")]) == 2
    assert capsys.readouterr().err.count("name the folder tests/tests_pytorch of a checkout of Lightning") == 3
