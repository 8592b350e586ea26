"""`story` and `write_figure`: what people see of a finished study."""

import shutil
import sys
from io import StringIO

import pytest
from rich.console import Console

from lightning_clip.cli.compare import compare
from lightning_clip.reports import to_text
from lightning_clip.studies import ResultsFolder, StudyResults
from lightning_clip.studies.story import story, study_figure, write_figure
from tests.support.studies import result, tiny_study, written_study


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished study."""
    folder = tmp_path_factory.mktemp("study")
    config = written_study(folder)
    compare(str(config), seeds=None, jobs=1, output=folder / "out", resume=False, command="")
    return folder / "out"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_report_fits_its_width(finished, width):
    """No line is wider than the terminal."""
    text = to_text(story(ResultsFolder(finished).read(), ResultsFolder(finished)), width=width)
    assert max(map(len, text.splitlines())) <= width


def test_the_saved_run_is_like_the_lost_one(tmp_path, finished):
    """Below the first run that diverged comes the last strategy that saved the same model and seed."""
    records = ResultsFolder(finished)
    runs = [
        result("none", 0),
        result("norm-1.0", 0),
        result("none", 1, diverged=True, diverged_at_step=8, metrics={"test_mse": None}),
        result("norm-1.0", 1),
    ]
    text = to_text(story(StudyResults("tiny", runs), records), width=100)
    titles = [line.split(" ─")[0] for line in text.splitlines() if line.startswith("Gradient report")]
    assert titles == ["Gradient report: mlp, none, seed 1", "Gradient report: mlp, norm-1.0, seed 1"]
    without_loss = to_text(story(StudyResults("tiny", runs[:2]), records), width=100)
    assert "Gradient report" not in without_loss


def test_a_run_without_a_record_is_left_out(tmp_path):
    """Results alone are enough for the comparison, because an experiment need not record its runs."""
    runs = [result("none", 0, diverged=True, diverged_at_step=8, metrics={"test_mse": None}), result("norm-1.0", 0)]
    text = to_text(story(StudyResults("tiny", runs), ResultsFolder(tmp_path)), width=80)
    assert text.startswith("Comparison: tiny")
    assert "Gradient report" not in text


def test_the_setting_is_in_the_title(tmp_path, finished):
    """The title of a run includes its axes."""
    runs = [
        result("none", 0, axes={"length": 50}, diverged=True, diverged_at_step=8, metrics={"test_mse": None}),
        result("norm-1.0", 0, axes={"length": 50}),
    ]
    records = tmp_path / "records"
    records.mkdir()
    for name in ("none", "norm-1.0"):
        shutil.copy(finished / "records" / f"mlp-{name}-0.jsonl", records / f"mlp-{name}-length-50-0.jsonl")
    text = to_text(story(StudyResults("tiny", runs), ResultsFolder(tmp_path)), width=100)
    assert "Gradient report: mlp, none, length 50, seed 0 ─" in text
    assert "Gradient report: mlp, norm-1.0, length 50, seed 0 ─" in text


def test_a_report_is_plain_in_a_pipe(finished):
    """There are no color codes without a terminal, nor in a terminal with NO_COLOR."""
    for options in ({}, {"force_terminal": True, "_environ": {"NO_COLOR": "1", "TERM": "xterm"}}):
        console = Console(file=StringIO(), width=100, **options)
        console.print(story(ResultsFolder(finished).read(), ResultsFolder(finished)))
        assert "\x1b[3" not in console.file.getvalue()


def test_the_figure_is_written_beside_the_results(tmp_path):
    """It is a PNG file."""
    path = write_figure(tiny_study(), [result("none"), result()], ResultsFolder(tmp_path))
    assert path == tmp_path / "figure.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_figure_has_the_name_of_the_study():
    """A figure without its folder says what it shows."""
    assert study_figure(tiny_study(), [result()]).get_suptitle() == "tiny"


def test_without_matplotlib_nothing_is_written(tmp_path, monkeypatch):
    """A study does not need matplotlib."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert write_figure(tiny_study(), [result()], ResultsFolder(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []


def test_a_missing_module_of_an_experiment_is_raised(tmp_path, monkeypatch):
    """Only a missing matplotlib is ignored."""
    missing = ModuleNotFoundError("No module named 'nowhere'", name="nowhere")
    monkeypatch.setattr("lightning_clip.studies.story.plot_comparison", lambda *_: (_ for _ in ()).throw(missing))
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        write_figure(tiny_study(), [result()], ResultsFolder(tmp_path))
