"""`plot_comparison`: the figure of a study."""

import sys
import warnings

import numpy as np
import pytest

from lightning_clip.studies.comparison import plot_comparison
from tests.reports.studied import grid, lengths, rates, remedies, result, solving, study, tasks


def test_a_numeric_axis_has_a_line_for_each_strategy():
    """The lines show how many runs are solved and after how many steps; a wide axis is logarithmic."""
    figure = plot_comparison(rates(), "rates")
    solved, steps = figure.axes
    assert [line.get_label() for line in solved.lines] == ["none", "norm-1.0"]
    np.testing.assert_array_equal(solved.lines[1].get_ydata(), [0, 0, 0, 0, 0, 1, 1, 1, 0])
    np.testing.assert_array_equal(steps.lines[0].get_ydata(), [1625, 1850, 1700])
    assert solved.get_xscale() == "log"
    assert solved.get_ylabel() == "runs solved, of 5"
    assert figure.get_suptitle() == "rates"
    assert [text.get_text() for text in solved.get_legend().get_texts()] == ["none", "norm-1.0", "every run diverged"]


def test_a_metric_has_its_median_and_its_range():
    """The band goes from the smallest to the largest value; a cross marks where every run diverged."""
    runs = [result("a", seed, 10.0**seed, length=length) for length in (50, 100, 150) for seed in range(3)]
    runs += [result("b", seed, None, length=length) for length in (50, 100, 150) for seed in range(3)]
    (plot,) = plot_comparison(runs).axes
    np.testing.assert_array_equal(plot.lines[0].get_ydata(), [10, 10, 10])
    band = plot.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (1, 100)
    assert (plot.get_xscale(), plot.get_yscale()) == ("linear", "log")
    crosses = plot.collections[-2].get_offsets()
    np.testing.assert_array_equal(crosses[:, 0], [50, 100, 150])


def test_each_value_of_another_axis_has_its_plot():
    """The lines of a plot are named by their strategy, and the title says which value the plot is for."""
    runs = [
        result(name, seed, value + length + seed, length=length, target=target)
        for target, value in (("raw", 100.0), ("scaled", 1.0))
        for length in (1, 2, 3)
        for name in ("none", "norm-1.0")
        for seed in range(2)
    ]
    raw, scaled = plot_comparison(runs).axes
    assert [raw.get_title("right"), scaled.get_title("right")] == ["target raw", "target scaled"]
    assert [line.get_label() for line in scaled.lines] == ["none", "norm-1.0"]
    np.testing.assert_array_equal(scaled.lines[1].get_ydata(), [2.5, 3.5, 4.5])


def test_the_rows_of_the_legend_are_about_as_long():
    """Five entries are three and two, not four and one."""
    runs = [result(name, 0, 1.0, length=length) for name in "abcde" for length in (1, 2, 3)]
    (plot,) = plot_comparison(runs).axes
    assert plot.get_legend()._ncols == 3


def test_counts_of_unequal_numbers_of_runs_are_fractions():
    """In an interrupted study, some settings have fewer runs."""
    runs = [solving("a", seed, 500, length=length) for length in (1, 2, 3) for seed in range(length)]
    assert plot_comparison(runs).axes[0].get_ylabel() == "fraction of runs solved"


def test_without_such_an_axis_every_run_is_a_point():
    """There is a plot for each group and a row for each strategy, with the number of diverged runs beside it."""
    (plot,) = plot_comparison(study()).axes
    assert [label.get_text() for label in plot.get_yticklabels()] == [
        "none",
        "per-parameter-norm-1.0",
        "value-5.0",
        "norm-1.0",
    ]
    points = [one.get_offsets() for one in plot.collections]
    assert sum(len(own) for own in points) == 5 + 3 + 5 + 3  # the runs that did not diverge, and three medians
    assert [text.get_text() for text in plot.texts] == [
        "5 of 5 diverged",
        "14.2",
        "88, 2 of 5 diverged",
        "22",
    ]
    assert len(plot_comparison(grid()).axes) == 4


def test_with_a_task_to_solve_the_points_are_steps():
    """The axis starts at 0, with the number of solved runs beside each row."""
    lost = [solving("lost", 0, None, diverged_at_step=9, length=50), solving("lost", 1, None, length=50)]
    lost[1].metrics["dead"] = 1.0
    assert plot_comparison(lost).axes[0].texts[0].get_text() == "0 of 2 solved, 1 diverged, 1 dead"
    first, second = plot_comparison(lengths()).axes
    assert [text.get_text() for text in first.texts] == ["0 of 5 solved", "4 of 5 solved", "5 of 5 solved"]
    assert first.get_xlim() == second.get_xlim()
    assert first.get_xlim()[0] == 0
    order, digits = plot_comparison(tasks()).axes
    assert order.get_xlabel().startswith("steps to solve")
    assert digits.get_xlabel().startswith("test error")


def test_points_that_lie_on_each_other_are_moved_apart():
    """Five equal runs are five visible points."""
    (plot,) = plot_comparison([solving("a", seed, 1000) for seed in range(5)]).axes
    offsets = plot.collections[0].get_offsets()
    assert len({tuple(point) for point in offsets}) == 5
    assert np.abs(offsets[:, 1]).max() < 0.5


def test_plots_that_share_a_logarithmic_axis_have_powers_of_ten():
    """A group whose own numbers span little has the same axis as the group above it."""
    runs = [result(name, seed, 10.0 ** (4 * seed), model="wide") for name in "ab" for seed in range(3)]
    runs += [result(name, seed, 2.0 + seed, model="narrow") for name in "ab" for seed in range(3)]
    figure = plot_comparison(runs)
    figure.draw_without_rendering()
    labels = [{label.get_text() for label in plot.get_xticklabels()} for plot in figure.axes]
    assert labels[0] == labels[1]
    assert "$\\mathdefault{10^{4}}$" in labels[0]
    (narrow,) = plot_comparison(runs[6:]).axes
    assert narrow.xaxis.get_major_formatter()(2000) == "2,000"


@pytest.mark.parametrize("runs", [rates, tasks, lengths, remedies, study, grid])
def test_it_can_be_saved(runs, tmp_path):
    """It needs no display and gives no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_comparison(runs(), "a study").savefig(tmp_path / "figure.png", dpi=40)
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_runs_without_a_metric_can_be_plotted(tmp_path):
    """Runs that only diverged have no metric."""
    runs = [result("a", seed, None) for seed in range(2)] + [solving("b", 0, None, diverged_at_step=3)]
    plot_comparison(runs).savefig(tmp_path / "figure.png", dpi=40)


def test_a_study_without_runs_is_refused():
    """Without results there is nothing to plot."""
    with pytest.raises(ValueError, match=r"plot_comparison\(results\): no run has finished"):
        plot_comparison([])


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(
        ModuleNotFoundError, match=r'plot_comparison needs matplotlib: pip install "lightning-clip\[plot\]"'
    ):
        plot_comparison(study())
