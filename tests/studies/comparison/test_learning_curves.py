"""`plot_learning_curves`: thin lines for runs, thick ones for medians, words for runs that diverged."""

import numpy as np

from lightning_clip.core import Measurement
from lightning_clip.studies.comparison.learning_curves import LEARNING_CURVE, LearningCurve, plot_learning_curves


def curve(*values: float, lost: int | None = None) -> LearningCurve:
    samples = [
        Measurement(16 * epoch, LEARNING_CURVE, {"epoch": float(epoch), "train": value, "validation": 2 * value})
        for epoch, value in enumerate(values, start=1)
    ]
    return LearningCurve.of(samples, lost)


def thick(plot) -> list[list[float]]:
    return [list(line.get_ydata()) for line in plot.lines if line.get_linewidth() == 2]


def test_medians_are_thick_and_runs_are_thin():
    """A plot has a thick line per split, the median of the runs at each epoch, and a thin line per run."""
    (plot,) = plot_learning_curves({"norm-1.0": [curve(9, 3), curve(5, 1), curve(7, 2)]}).axes
    assert thick(plot) == [[7, 2], [14, 4]]
    assert len(plot.lines) == 8
    assert plot.get_yscale() == "log"
    assert [text.get_text().split() for text in plot.texts] == [["train", "2"], ["validation", "4"]]


def test_runs_that_diverged_are_words():
    """A strategy whose runs all diverged says when; other runs of the same strategy are drawn."""
    curves = {"none": [curve(lost=8), curve(lost=9)], "value": [curve(4, 2), curve(lost=30)]}
    none, value = plot_learning_curves(curves, "study").axes
    assert [text.get_text() for text in none.texts] == ["2 of 2 runs diverged,\nat steps 8 to 9"]
    assert value.texts[0].get_text() == "1 of 2 runs diverged,\nat step 30"
    assert thick(value) == [[4, 2], [8, 4]]


def test_a_run_that_ended_early_counts_while_it_lasts():
    """The median of an epoch is over the runs that reached it, and a sample without both errors is left out."""
    half = Measurement(48, LEARNING_CURVE, {"epoch": 3.0, "train": 1.0})
    assert LearningCurve.of([half]).epochs == []
    (plot,) = plot_learning_curves({"a": [curve(1, 2, 3), curve(3)]}).axes
    np.testing.assert_array_equal(thick(plot)[0], [2, 2, 3])
