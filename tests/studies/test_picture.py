"""`write_picture`: what a study's experiment draws, in the study's folder."""

import sys
from dataclasses import replace

from lightning_clip.studies import ResultsFolder, load_study, run_study
from lightning_clip.studies.compare import compare
from lightning_clip.studies.picture import study_figure, write_picture
from tests.support.studies import result, tiny_study


def test_a_picture_is_written_and_named(tmp_path, monkeypatch, capsys):
    """`compare` draws the picture of an experiment that has one, and says where it is."""
    monkeypatch.setenv("COLUMNS", "100")
    out = tmp_path / "out"
    assert compare("cliff", seeds=1, jobs=1, output=out, resume=False, command="") == 0
    assert f"Picture: {out / 'figure.png'}\n" in capsys.readouterr().out
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_an_experiment_without_a_picture_has_none(tmp_path):
    """A study that trains, or whose experiment draws nothing, has no file more."""
    drawing_nothing = {"class_path": "lightning_clip.studies.Training"}
    for study in (tiny_study(), tiny_study(experiment=drawing_nothing)):
        assert study_figure(study, [result()]) is None
        assert write_picture(study, [result()], ResultsFolder(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_there_is_no_picture(tmp_path, monkeypatch):
    """A study is not lost for a picture that cannot be drawn."""
    study, folder = replace(load_study("cliff"), seeds=1), ResultsFolder(tmp_path)
    results = run_study(study, folder)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert write_picture(study, results, folder) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records", "results.json"]
