"""Bars of the gradient by lag."""

import math

import numpy as np
import pytest

from lightning_clip.reports.sections.temporal import lag_bars


@pytest.mark.parametrize("lags", [8, 14, 15, 24, 100, 256, 1000])
def test_every_lag_is_in_one_bar(lags: int):
    """Every lag is in one of at most 14 bars, all of the same size except the last."""
    bars = lag_bars([1.0] * lags)
    assert [lag for bar in bars for lag in range(bar.first, bar.last + 1)] == list(range(lags))
    assert len(bars) <= 14
    assert len({bar.last - bar.first for bar in bars[:-1]}) == 1


def test_a_bar_has_the_largest_of_its_norms_relative_to_lag_0():
    """A bar shows the largest norm of its lags relative to lag 0, and names those lags."""
    norms = [4.0, 8.0, *[0.4] * 26]
    bars = lag_bars(norms)
    assert [bar.value for bar in bars[:2]] == [2.0, 0.1]
    assert [bar.label for bar in bars[:2]] == ["0–1", "2–3"]
    assert lag_bars([1.0] * 8)[3].label == "3"


def test_an_exponential_is_a_straight_line():
    """For an exponential, each bar is shorter than the previous one by the same amount."""
    fractions = [bar.fraction for bar in lag_bars(np.exp(-0.3 * np.arange(14)).tolist())]
    assert fractions[0] == pytest.approx(1.0)
    assert np.diff(fractions) == pytest.approx(np.full(13, np.diff(fractions)[0]))
    assert fractions[-1] > 0


def test_what_falls_below_eight_decades_has_no_bar():
    """Norms more than eight decades below lag 0 have no bar, which keeps the first decades distinguishable."""
    bars = lag_bars([1.0, 1e-4, 1e-8, 1e-12, 0.0, *[1e-30] * 3])
    assert [bar.fraction > 0 for bar in bars] == [True, True, True, *[False] * 5]
    assert bars[1].fraction == pytest.approx(0.52, abs=0.01)


def test_growth_is_shown_whole():
    """A growing norm is drawn in full, over however many decades."""
    fractions = [bar.fraction for bar in lag_bars((10.0 ** np.arange(0, 42, 3)).tolist())]
    assert np.diff(fractions) == pytest.approx(np.full(13, np.diff(fractions)[0]))
    assert fractions[0] > 0


def test_a_ripple_is_no_slope():
    """A change of less than a decade does not fill the scale."""
    bars = lag_bars([1.0, 0.9] * 7)
    assert min(bar.fraction for bar in bars) > 0.9


def test_norms_that_are_not_finite_fill_their_bar():
    """NaN and infinite norms fill their bar, even at lag 0 or where lag 0 is zero."""
    bars = lag_bars([1.0, math.nan, math.inf, *[1.0] * 7])
    assert [bar.fraction for bar in bars[1:3]] == [1.0, 1.0]
    assert not any(math.isfinite(bar.value) for bar in bars[1:3])
    assert lag_bars([math.nan, 2.0, *[1.0] * 8])[1].value == 2.0
    assert lag_bars([0.0, 2.0, *[1.0] * 8])[1].value == 2.0
    assert all(bar.fraction == 0 for bar in lag_bars([0.0] * 10))


def test_a_bar_is_drawn_in_eighths():
    """The length of a bar is drawn in eighths of a character."""
    whole, half = lag_bars([1.0, 10**-4.2, *[1e-8] * 6])[:2]
    assert whole.drawn(10) == "█" * 10
    assert half.drawn(10) == "█" * 5
    assert half.drawn(11) == "█████▌"
