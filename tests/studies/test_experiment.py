"""`Experiment`: the figure that an experiment may draw."""

import sys
from dataclasses import replace

from lightning_clip.cli.compare import compare
from lightning_clip.studies import ResultsFolder, Training, load_study, run_study
from lightning_clip.studies.story import study_figure, write_figure
from tests.support.studies import result, tiny_study


def test_the_figure_of_an_experiment_is_written_and_named(tmp_path, monkeypatch, capsys):
    """`compare` writes the figure of an experiment, and says where it is."""
    monkeypatch.setenv("COLUMNS", "100")
    out = tmp_path / "out"
    assert compare("cliff", seeds=1, jobs=1, output=out, resume=False, command="") == 0
    assert f"Figure: {out / 'figure.png'}\n" in capsys.readouterr().out
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_study_asks_its_experiment_first():
    """If the experiment has a figure of its own, it is the figure of the study."""
    study = replace(load_study("cliff"), seeds=1)
    results = [result("none", model="one-unit", metrics={"solved": 0.0})]
    assert "beside the wall" in study_figure(study, results).get_suptitle()


def test_an_experiment_need_not_draw():
    """Training has no figure of its own."""
    assert Training().figure(tiny_study().cells(), [result()]) is None


def test_without_matplotlib_there_is_no_figure(tmp_path, monkeypatch):
    """A study whose figure cannot be drawn keeps its results."""
    study, folder = replace(load_study("cliff"), seeds=1), ResultsFolder(tmp_path)
    results = run_study(study, folder)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert write_figure(study, results, folder) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records", "results.json"]
