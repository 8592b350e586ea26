"""Clipping that always or never acts is told in the words of the strategy in force."""

from dataclasses import replace

import numpy as np
import pytest

from lightning_clip.core import History, RunInfo
from lightning_clip.reports import Evidence, Finding, diagnose
from tests.support.recorded import record

QUIET = np.exp(0.3 * np.random.default_rng(0).standard_normal(300)).tolist()


def only(strategy: str, label: str, *, max_norm: float) -> Finding:
    history = History()
    history.extend([replace(record(i, norm, max_norm=max_norm), strategy=label) for i, norm in enumerate(QUIET)])
    (finding,) = diagnose(Evidence.of(history, RunInfo("M", strategy, "SGD(lr=0.1)")))
    return finding


def test_a_strategy_that_clips_by_design_is_not_told_to_stop():
    """AutoClip(percentile=10) clips nine of ten steps because it is meant to; its knob is the percentile."""
    finding = only("AutoClip(percentile=10.0, window=1000)", "AutoClip(10.0)", max_norm=0.68)
    assert finding.title.endswith(", as AutoClip(percentile=10) is meant to")
    assert "threshold" not in finding.remedy
    assert finding.code[-2] == "clipping = GradientClipping(AutoClip(percentile=90.0))"


def test_a_strategy_that_clips_more_than_it_is_meant_to_is_told_apart():
    """AutoClip(percentile=80) that clips nine of ten steps sets the step size."""
    finding = only("AutoClip(percentile=80.0, window=1000)", "AutoClip(80.0)", max_norm=0.68)
    assert ": clipping sets the step size" in finding.title
    assert "raise percentile (now 80): percentile=90 clips about one step in ten" in finding.remedy


@pytest.mark.parametrize(
    ("strategy", "label", "words"),
    [
        ("NormClip(max_norm=0.1, norm_type=2.0)", "NormClip(0.1)", "raise max_norm (now 0.1): max_norm=1.5, the P90"),
        (
            "ZClip(z_thresh=2.5, alpha=0.97)",
            "ZClip(2.5)",
            "raise z_thresh (now 2.5): NormClip(1.5), the P90 of these norms",
        ),
        ("Tightest(strategies=())", "Tightest()", "raise its limit: NormClip(1.5), the P90"),
    ],
)
def test_each_strategy_is_told_its_own_knob(strategy: str, label: str, words: str):
    """A limit on the norm gets a value from this run's norms; any other knob is named with what would do the same."""
    assert words in only(strategy, label, max_norm=0.1).remedy


def test_clipping_that_never_acts_gets_a_value_of_its_own_knob():
    """QuantileClip is told a quantile, NormClip a norm with the share of steps that it would clip."""
    quantile = only("QuantileClip(quantile=0.999, rate=0.05)", "QuantileClip(0.999)", max_norm=1e3)
    assert "To clip more, quantile=0.9 clips about one step in ten" in quantile.remedy
    norm = only("NormClip(max_norm=1000.0)", "NormClip(1000.0)", max_norm=1e3)
    assert "max_norm=1.5, the P90 of these norms, would clip 9.3% of these steps" in norm.remedy


def test_where_strategies_were_switched_no_knob_is_named():
    """The record does not say which of them the description is of."""
    history = History()
    history.extend([record(i, 10 * norm, max_norm=1.0 if i < 150 else 2.0) for i, norm in enumerate(QUIET)])
    (finding,) = diagnose(Evidence.of(history, RunInfo("M", "NormClip(max_norm=1.0)", "SGD(lr=0.1)")))
    assert "and then raise the threshold: NormClip(15), the P90 of these norms" in finding.remedy
