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


@pytest.mark.slow
def test_the_comparison_tells_what_is_new_and_why(tmp_path, monkeypatch, capsys):
    """What also fails alone, or not again, is not new; what fails with callbacks of nobody has that as its reason."""
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_a.py").write_text(TESTS)
    (tmp_path / "known").write_text("# comment\n*is_listed*  # counts callbacks\n")
    monkeypatch.setattr(upstream, "KNOWN", tmp_path / "known")
    assert upstream.main([str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.replace("test_a.py::test_", "") for line in lines[:-1]) == [
        "ends_the_process_with_ours  # NEW FAILURE",
        f"forbids_any_callback  # {upstream.FORBIDS}",
        "forbids_ours  # NEW FAILURE",
        "is_listed_with_a_reason  # counts callbacks",
    ]
    assert lines[-1] == "7 tests with our callbacks on 6 Trainers: 4 fail only with them, 2 of these without a reason."


def test_a_folder_has_to_be_named(capsys, tmp_path):
    """Without one, one line says which."""
    assert upstream.main([]) == upstream.main([str(tmp_path / "missing")]) == 2
    assert capsys.readouterr().err.count("name the folder tests/tests_pytorch of a checkout of Lightning") == 2
