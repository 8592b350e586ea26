"""The figure of a run."""

import math
import sys

import numpy as np
import pytest

from lightning_clip.core import History, RunInfo
from lightning_clip.core.record.update_sizes import UpdateSizes
from lightning_clip.reports import plot_report
from tests.reports.runs import (
    adversarial,
    bad_batch,
    exploding,
    grows_through_time,
    healthy,
    healthy_through_time,
    recurrent,
)
from tests.support.recorded import history_of


def test_the_norm_before_and_after_is_plotted():
    """Two lines show the norm before and after clipping; bad steps are marked."""
    history, run = healthy()
    figure = plot_report(history, run)
    before, after = figure.axes[0].lines[:2]
    np.testing.assert_array_equal(before.get_ydata(), history.aggregates[0].before.values())
    np.testing.assert_array_equal(after.get_ydata(), history.aggregates[0].after.values())
    assert "MLPRegressor" in figure.get_suptitle()
    assert [line.get_linestyle() for line in plot_report(*exploding()).axes[0].lines][:3] == ["-", "-", ":"]


def test_the_distribution_holds_all_steps():
    """The bars of the histogram add up to the number of steps."""
    bars = plot_report(*healthy()).axes[1].patches
    assert sum(bar.get_height() for bar in bars) == pytest.approx(1600)


def test_each_optimizer_has_a_row_and_layers_come_last():
    """Two optimizers give four plots of norms and one of the loss of each; 20 of 60 parameters are shown."""
    axes = plot_report(*adversarial()).axes
    assert len(axes) == 7
    titles = [one.get_title() for one in axes[4:6]]
    assert titles == [f"Optimizer {index}: training loss of each step" for index in (0, 1)]
    assert axes[-1].get_xlabel() == "percent of the squared norm of its optimizer"
    assert len(plot_report(*recurrent()).axes[-1].patches) == 20


def labeled(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_the_threshold_and_what_it_did_are_marked():
    """Threshold, clipped steps, the highest spikes with their numbers; candidates and the share they would clip."""
    norms, distribution, *_ = plot_report(*bad_batch()).axes
    assert set(labeled(norms)["threshold"].get_ydata()) == {4.0}
    assert labeled(norms)["clipped step"].get_xdata().tolist() == [20, 60, 100, 140, 180, 220]
    assert {text.get_text() for text in norms.texts} == {"140", "180", "220"}
    assert "P90 2.57: would clip 10%" in labeled(distribution)
    assert "threshold 4: clipped 2.5%" in labeled(distribution)


@pytest.mark.parametrize(("max_norm", "label"), [(4.0, "threshold"), (400.0, "threshold, outside this picture")])
def test_a_threshold_that_never_acted_is_seen_if_it_is_near(max_norm, label):
    """Above the highest norm there is room for it, but not where it would squash the norms."""
    norms = plot_report(history_of([1.0, 2.0, 1.5, 1.8], max_norm=max_norm), RunInfo()).axes[0]
    assert set(labeled(norms)[label].get_ydata()) == {max_norm}
    assert (norms.get_ylim()[1] > max_norm) == (max_norm == 4.0)


def test_strokes_that_would_lie_on_top_of_each_other_are_one():
    """Of 4,000 steps every third is clipped: at most a thousand strokes, none twice, from the first to the last."""
    strokes = labeled(plot_report(history_of([1.0, 1.0, 9.0] * 1_333, max_norm=4.0), RunInfo()).axes[0])["clipped step"]
    steps = strokes.get_xdata().tolist()
    assert steps == sorted(set(steps))
    assert 900 < len(steps) <= 1_000
    assert (steps[0], steps[-1] > 3_990) == (2, True)
    assert all(step % 3 == 2 for step in steps)


def test_clipped_steps_are_not_marked_where_only_the_last_are_known():
    """A history that no longer has the first steps would have strokes at its end only."""
    history = history_of([1.0, 1.0, 9.0] * 5_000, max_norm=4.0)
    assert len(history) < 15_000
    assert "clipped step" not in labeled(plot_report(history, RunInfo()).axes[0])


def test_large_numbers_of_steps_are_written_out():
    """No power of ten at the end of an axis, no fraction of it at the ticks."""
    figure = plot_report(history_of([1.0, 2.0] * 10_000), RunInfo())
    figure.draw_without_rendering()
    norms, distribution, losses = figure.axes
    assert "20,000" in [label.get_text() for label in norms.get_xticklabels()]
    for axis in (norms.xaxis, distribution.yaxis, losses.xaxis):
        assert not axis.get_offset_text().get_text()


def test_switches_and_skipped_steps_are_marked():
    """Two switches with one entry in the legend, three skipped steps; strokes for most steps would be a bar."""
    norms = plot_report(*recurrent()).axes[0]
    switches = [line for line in norms.lines if line.get_linestyle() == "-."]
    assert [line.get_xdata()[0] for line in switches] == [1200, 3000]
    assert labeled(norms)["skipped step"].get_xdata().tolist() == [2100, 2101, 3333]
    assert "clipped step" not in labeled(norms)
    assert "not clipped" in labeled(plot_report(*exploding()).axes[0])


def test_gradients_through_time_are_a_heat_map():
    """Lag by step, relative to lag 0; a single profile needs no map."""
    figure = plot_report(*grows_through_time())
    (axes,) = [one for one in figure.axes if one.get_title().startswith("Gradient through time")]
    (mesh,) = axes.collections
    table = mesh.get_array().reshape(100, 3)
    assert table[0].tolist() == [0.0] * 3
    assert table[50, 2] > table[50, 0] > 1.0
    assert not [one for one in plot_report(*healthy_through_time()).axes if "through time" in one.get_title()]


def test_updates_are_a_heat_map():
    """Parameter by step, the largest ratios first; NaN and zero stay white."""
    history, run = healthy()
    for step, ratio in ((0, 0.1), (100, math.nan), (200, 0.001)):
        sizes = UpdateSizes(step, 0, 1.0, ratio, ["a", "b"], [2, 2], [1.0, 1.0], [ratio, 10 * ratio])
        history.measurements.add(sizes.to_measurement())
    (axes,) = [one for one in plot_report(history, run).axes if one.get_title() == "Update ratio of each parameter"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]
    table = axes.collections[0].get_array().reshape(2, 3)
    np.testing.assert_allclose(table.filled(7.0), [[0.0, 7.0, -2.0], [-1.0, 7.0, -3.0]])


def test_it_can_be_saved(tmp_path):
    """The figure is saved without a display."""
    plot_report(*exploding()).savefig(tmp_path / "report.png", dpi=40)
    assert (tmp_path / "report.png").stat().st_size > 1000


def test_a_run_without_a_step_is_refused():
    """A run without steps is refused with the reason."""
    with pytest.raises(ValueError, match=r"plot_report\(history, run\): no optimizer step was recorded"):
        plot_report(History(), RunInfo())


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    """Without matplotlib the error says what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(
        ModuleNotFoundError, match=r'plot_report needs matplotlib: pip install "lightning-clip\[plot\]"'
    ):
        plot_report(*exploding())
