"""The figure of a run."""

import sys

import numpy as np
import pytest

from lightning_clip.core import History, RunInfo
from lightning_clip.reports import plot_report
from tests.reports.runs import adversarial, exploding, healthy, recurrent


def test_the_norm_before_and_after_is_plotted():
    """Two lines show the norm before and after clipping; bad steps are marked."""
    history, run = healthy()
    figure = plot_report(history, run)
    before, after = figure.axes[0].lines[:2]
    np.testing.assert_array_equal(before.get_ydata(), history.aggregates[0].before.values())
    np.testing.assert_array_equal(after.get_ydata(), history.aggregates[0].after.values())
    assert "MLPRegressor" in figure.get_suptitle()
    assert len(plot_report(*exploding()).axes[0].lines) == 3


def test_the_distribution_holds_all_steps():
    """The bars of the histogram add up to the number of steps."""
    bars = plot_report(*healthy()).axes[1].patches
    assert sum(bar.get_height() for bar in bars) == pytest.approx(1600)


def test_each_optimizer_has_a_row_and_layers_come_last():
    """Two optimizers give four plots and one for parameters; 20 of 60 parameters are shown."""
    assert len(plot_report(*adversarial()).axes) == 5
    assert len(plot_report(*recurrent()).axes[-1].patches) == 20


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
