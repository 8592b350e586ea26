"""Which parameters are said to have a vanishing gradient."""

import numpy as np

from lightning_clip.core import RunInfo
from lightning_clip.reports import Evidence, Finding, diagnose
from tests.support.recorded import history_of

QUIET = np.exp(0.3 * np.random.default_rng(0).standard_normal(300)).tolist()


def found(shares: dict[str, float]) -> list[Finding]:
    return diagnose(Evidence.of(history_of(QUIET, shares=shares), RunInfo("M", "NoClip()", "SGD(lr=0.01)")))


def test_a_bias_whose_weight_has_a_gradient_does_not_vanish():
    """A bias before a BatchNorm has none to rounding; one that is as quiet as its weight still vanishes."""
    idle = {"a.weight": 0.5, "a.bias": 1e-16, "b.weight": 0.5}
    assert found(idle) == []
    finding = next(f for f in found({**idle, "a.weight": 1e-16}) if "vanish" in f.kind)
    assert finding.title.startswith("2 parameters have a vanishing gradient")
