"""What a diagnosis says about weights and updates."""

import math

import numpy as np
import pytest

from lightning_clip.core import RunInfo
from lightning_clip.core.record.update_sizes import UpdateSizes
from lightning_clip.reports import Evidence, Finding, Severity, diagnose
from tests.support.recorded import history_of

QUIET = np.exp(0.3 * np.random.default_rng(0).standard_normal(100)).tolist()


def found(*samples: tuple[float, float]) -> list[Finding]:
    """The findings of a run in which the weights had these norms and these updates, every ten steps."""
    history = history_of(QUIET)
    for i, (weight, update) in enumerate(samples):
        names, dims = ["net.weight", "net.bias"], [2, 1]
        sizes = UpdateSizes(10 * i, 0, weight, update, names, dims, [weight, 0.01], [update, 0.01])
        history.measurements.add(sizes.to_measurement())
    return diagnose(Evidence.of(history, RunInfo("M", "NoClip()", "Adam(lr=0.5)")))


def test_usual_updates_are_not_mentioned():
    """Neither a ratio of 0.1% nor the large ratio of a small bias is a finding."""
    assert found(*[(10.0, 0.01)] * 5) == []
    assert found((1.0, 0.1), (1.5, 0.05), (2.0, 0.01)) == []


def test_an_update_that_replaces_the_weights_is_told():
    """The parameter, the step and the usual ratio are named, and a rate that is much lower."""
    (finding,) = found((1.0, 3.0), (20.0, 4.0), (30.0, 4.0))
    assert finding.kind == "large-updates"
    assert finding.severity is Severity.WARNING
    assert finding.title == "An update of net.weight was 300% of the weights, at step 0"
    assert "was usually 20% of its norm" in finding.detail
    assert "All weights together grew by a factor of 30." in finding.detail
    assert finding.code[-1] == "optimizer = torch.optim.Adam(params, lr=0.005)"


def test_weights_that_grow_slowly_by_a_large_factor_are_told():
    """Each update is small, and together they are not."""
    (finding,) = found(*[(1.12**i, 0.12 * 1.12**i) for i in range(30)])
    assert finding.kind == "growing-weights"
    assert finding.title == "The weights grew by a factor of 26.7 in 290 steps"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_named(bad: float):
    """The run cannot recover from them."""
    finding = found((1.0, 0.01), (bad, bad))[0]
    assert finding.kind == "bad-weights"
    assert finding.severity is Severity.CRITICAL
    assert finding.title == "The weights are NaN or infinite at step 10"
    assert finding.detail.startswith("net.weight: ")
