"""`plot_descents`: the figure of descents."""

import sys

import numpy as np
import pytest

from lightning_clip.studies.experiments.descent_figure import Surface, Way, plot_descents

X = np.linspace(0.0, 2.0, 20)
BOWL = Surface(X, X, (X - 1)[:, None] ** 2 + (X - 1) ** 2, ("a", "b", "miss"))
SHORT = Way(np.array([[0.5, 0.5], [0.6, 0.6], [1.0, 1.0]]), np.array([0.5, 0.3, 0.0]))
FAR = Way(np.array([[0.5, 0.5], [0.6, 0.6], [4.6, 3.6]]), np.array([0.5, 0.3, 20.0]))


def test_paths_and_their_errors_are_plotted():
    """Each path has its longest step and where it leaves the plot; errors are beside it, none below the scale."""
    surface, course = plot_descents(BOWL, {"far": FAR, "short": SHORT}, small=0.1, title="Two ways").axes[:2]
    np.testing.assert_array_equal(surface.lines[0].get_xydata(), FAR.points)
    assert [line.get_label() for line in surface.lines[:2]] == [
        "far: longest step 5, leaves the plot at step 2",
        "short: longest step 0.566",
    ]
    np.testing.assert_array_equal(course.lines[1].get_ydata(), [0.5, 0.3, 1e-5])
    assert course.lines[2].get_label() == "solved: 0.1"


def test_the_view_is_that_of_the_surface():
    """A path that leaves the surface does not change the view."""
    surface = plot_descents(BOWL, {"far": FAR}, small=0.1, title="").axes[0]
    assert surface.get_xlim() == surface.get_ylim() == (0.0, 2.0)
    assert (surface.get_xlabel(), surface.get_ylabel()) == ("a", "b")


def test_a_path_of_one_point_is_plotted():
    """A descent without steps is its start."""
    lone = Way(np.array([[0.5, 0.5]]), np.array([0.5]))
    assert (
        plot_descents(BOWL, {"lone": lone}, small=0.1, title="").axes[0].lines[0].get_label() == "lone: longest step 0"
    )


def test_no_path_is_refused():
    """There is nothing to plot."""
    with pytest.raises(ValueError, match=r"plot_descents\(ways=\{\}\): ways must contain at least one path"):
        plot_descents(BOWL, {}, small=0.1, title="")


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r'plot_descents needs matplotlib: pip install "lightning-clip\[plot'):
        plot_descents(BOWL, {"short": SHORT}, small=0.1, title="")
