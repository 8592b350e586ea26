"""`make figures` leaves a picture alone that would look the same."""

import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure

from tests.support.markdown import ROOT

SVG = {"svg.hashsalt": "a test", "svg.fonttype": "none"}


@pytest.fixture
def save(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import picture_files

    return {".png": picture_files.save_png, ".svg": picture_files.save_svg}


def line(height: float, title: str = "0.25") -> Figure:
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.plot([0.1, height, 0.3])
    axes.set(title=title, ylim=(0, 1))
    return figure


@pytest.mark.parametrize("suffix", [".png", ".svg"])
@pytest.mark.parametrize(
    ("other", "is_written"),
    [(line(0.5 + 1e-7), False), (line(0.6), True), (line(0.5, "0.26"), True)],
    ids=["last digits", "shape", "text"],
)
def test_only_a_picture_that_looks_different_is_written(save, tmp_path, suffix, other, is_written):
    path = tmp_path / f"one{suffix}"
    with rc_context(SVG):
        save[suffix](line(0.5), path)
        before = path.read_bytes()
        save[suffix](other, path)
        assert (path.read_bytes() != before) == is_written
        if is_written:
            save[suffix](line(0.5), path)
            assert path.read_bytes() == before, "the same figure gives the same bytes"


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_picture_of_another_size_is_written(save, tmp_path, suffix):
    path, larger = tmp_path / f"one{suffix}", line(0.5)
    save[suffix](line(0.5), path)
    before = path.read_bytes()
    larger.set_size_inches(4, 2)
    save[suffix](larger, path)
    assert path.read_bytes() != before
