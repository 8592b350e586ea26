"""The numbers of a report."""

import math

import numpy as np
import pytest

from lightning_clip.core import History, RunInfo
from lightning_clip.reports.console import render_report
from lightning_clip.reports.summary import OptimizerSummary, summarize
from lightning_clip.reports.text import to_text
from tests.reports.runs import EXPLOSION
from tests.support.recorded import history_of, record


def part_of(history: History) -> OptimizerSummary:
    return summarize(history, RunInfo()).optimizers[0]


def test_the_distribution_is_that_of_the_norms_before_clipping():
    """Extremes and mean are exact, quantiles within 0.3% of numpy's."""
    norms = np.random.default_rng(0).lognormal(size=2000)
    part = part_of(history_of(norms.tolist(), max_norm=1.0))
    assert (part.min, part.max) == (norms.min(), norms.max())
    assert part.mean == pytest.approx(norms.mean())
    expected = np.quantile(norms, [0.5, 0.9, 0.99], method="lower")
    np.testing.assert_allclose([part.median, part.p90, part.p99], expected, rtol=3e-3)


@pytest.mark.parametrize(
    ("bound", "name"),
    [
        (0, "never acted"),
        (9, "safety net"),
        (10, "spike limiter"),
        (500, "spike limiter"),
        (501, "step-size limiter"),
        (1000, "step-size limiter"),
    ],
)
def test_the_verdict_follows_from_how_often_clipping_bound(bound: int, name: str):
    """Clipping under 1% of 1,000 steps is a safety net, over 50% a step-size limiter."""
    assert part_of(history_of([2.0] * bound + [0.5] * (1000 - bound), max_norm=1.0)).verdict.name == name


def test_watching_is_not_clipping():
    """A run that was only watched is not called one whose clipping never acted."""
    assert part_of(history_of([2.0] * 10)).verdict.name == "no clipping"


def test_steps_that_are_not_finite_are_not_counted_as_passed():
    """The clipped fraction is relative to the finite steps."""
    part = part_of(history_of([2.0, 0.5, math.nan, math.nan], max_norm=1.0))
    assert (part.steps, part.nonfinite, part.clipped_fraction, part.first_nonfinite) == (4, 2, 0.5, 2)


def test_the_mean_factor_is_over_the_steps_at_which_it_bound():
    """The mean coefficient covers clipped steps only; without any there is none."""
    assert part_of(history_of([2.0, 4.0, 0.1], max_norm=1.0)).mean_coef == pytest.approx((0.5 + 0.25) / 2)
    assert part_of(history_of([0.1], max_norm=1.0)).mean_coef is None


def test_the_suggested_threshold_is_the_90_percent_quantile():
    """The suggested threshold is the P90, within the resolution of the quantiles."""
    assert part_of(history_of([float(i) for i in range(1, 101)])).suggested_threshold == pytest.approx(90, rel=3e-3)


@pytest.mark.parametrize("norms", [[1.0] * 19, EXPLOSION, [1.0] * 30 + EXPLOSION, [0.0] * 50])
def test_nothing_is_suggested_where_it_would_mislead(norms: list[float]):
    """No threshold is suggested for too few steps, an explosion, or zero gradients."""
    assert part_of(history_of(norms)).suggested_threshold is None


def test_parameters_are_sorted_by_their_share_of_the_squared_norm():
    """Parameters are sorted by share, each with median, largest norm, elements and clipped fraction."""
    history = history_of([2.0] * 9 + [0.5], max_norm=1.0, shares={"small": 0.1, "large": 0.9})
    first, second = summarize(history, RunInfo(numels={"large": 30})).parameters
    assert (first.name, first.elements, second.name, second.elements) == ("large", 30, "small", None)
    assert first.share == pytest.approx(0.9)
    assert first.max == pytest.approx(2 * math.sqrt(0.9))
    assert first.median == pytest.approx(2 * math.sqrt(0.9), rel=0.02)
    assert first.clipped_fraction == pytest.approx(0.9)


def test_parameters_whose_shares_differ_by_rounding_keep_the_order_of_the_network():
    """The two biases of an RNN have the same gradient; on another machine, the other one is larger by the last bit."""
    shares = {"tiny": 1e-9, "bias_ih": 0.25, "bias_hh": 0.25 * (1 + 1e-7), "weight": 0.5, "smaller": 1e-8}
    summary = summarize(history_of([2.0] * 3, max_norm=1.0, shares=shares), RunInfo())
    assert [one.name for one in summary.parameters] == ["weight", "bias_ih", "bias_hh", "smaller", "tiny"]


def test_optimizers_are_kept_apart():
    """Each optimizer has its own numbers; the run counts the steps of all."""
    history = history_of([1.0] * 3, optimizer=1)
    history = history_of([5.0] * 2, optimizer=0, into=history)
    summary = summarize(history, RunInfo())
    assert [(part.optimizer, part.steps, part.max) for part in summary.optimizers] == [(0, 2, 5.0), (1, 3, 1.0)]
    assert summary.steps == 5


def test_strategies_are_counted_in_order():
    """A run that switched strategies counts the steps of each, in order."""
    history = History()
    history.extend([record(0, 1.0), record(1, 1.0), record(2, 1.0, max_norm=2.0)])
    assert part_of(history).strategies == {"NoClip()": 2, "NormClip(2.0)": 1}


def test_steps_without_a_gradient_are_told_apart():
    """They are in the curve and in the number of all steps, and in nothing else."""
    history = history_of([2.0, 0.0, 0.5, 0.0, 0.0], max_norm=1.0)
    part, summary = part_of(history), summarize(history, RunInfo())
    assert (part.steps, part.empty, summary.steps) == (2, 3, 5)
    assert (part.min, part.mean, part.clipped_fraction) == (0.5, 1.25, 0.5)
    assert part.before == (2.0, 0.0, 0.5, 0.0, 0.0)
    text = to_text(render_report(history, RunInfo()), width=100)
    assert "clipped 1 of 2 steps (50%)" in text
    assert "No gradient  3 steps, not counted above" in text


def test_a_run_without_any_gradient_can_be_reported():
    """Its report says how many steps had none."""
    assert "No gradient  30 steps" in to_text(render_report(history_of([0.0] * 30), RunInfo()), width=100)
