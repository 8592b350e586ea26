"""`write_picture`: the figure of a study, where it can be drawn."""

import sys

from lightning_clip.studies import ResultsFolder
from lightning_clip.studies.figure import study_figure, write_picture
from tests.support.studies import result, tiny_study


def test_the_figure_is_written_beside_the_results(tmp_path):
    """As a PNG file."""
    path = write_picture(tiny_study(), [result("none"), result()], ResultsFolder(tmp_path))
    assert path == tmp_path / "figure.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_figure_has_the_name_of_the_study():
    """So that a picture without its folder says what it shows."""
    assert study_figure(tiny_study(), [result()]).get_suptitle() == "tiny"


def test_without_matplotlib_nothing_is_written(tmp_path, monkeypatch):
    """A study does not need it."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert write_picture(tiny_study(), [result()], ResultsFolder(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []
