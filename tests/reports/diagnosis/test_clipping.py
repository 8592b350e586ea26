"""What a diagnosis says about clipping that nearly always or never acts."""

from lightning_clip.core import RunInfo
from lightning_clip.reports import Severity
from tests.reports.diagnosis.test_rules import ADAM, QUIET, SGD, only, titles
from tests.support.recorded import history_of


def test_clipping_that_acts_on_most_steps_is_explained_for_sgd_and_for_adam():
    """The threshold acts as a second learning rate for SGD and hardly matters for Adam."""
    history = history_of([10 * norm for norm in QUIET], max_norm=1.0)
    sgd, adam, unknown = (only(history, run) for run in (SGD, ADAM, RunInfo()))
    assert sgd.title == "Clipped 300 of 300 steps (100%): clipping sets the step size"
    assert sgd.severity is Severity.NOTE
    assert "acts as a second learning rate" in sgd.detail
    assert "lower the learning rate first" in sgd.remedy
    assert sgd.remedy.endswith(
        "raise max_norm (now 1): max_norm=15, the P90 of these norms, would clip 9.3% of these steps:"
    )
    assert sgd.code[-2] == "clipping = GradientClipping(NormClip(max_norm=15.0))"
    assert "divides by a running norm of its own" in adam.detail
    assert "lower the learning rate first" not in adam.remedy
    assert adam.code == sgd.code
    assert "second learning rate" in unknown.detail
    assert "Adam" in unknown.detail
    assert "and then raise the threshold: NormClip(15), the P90 of these norms" in unknown.remedy


def test_clipping_that_acts_on_half_the_steps_or_on_few_steps_is_not_mentioned():
    """The finding needs more than half of at least 20 steps."""
    assert titles(history_of([2.0, 0.5] * 50, max_norm=1.0)) == []
    assert titles(history_of([2.0] * 19, max_norm=1.0)) == []
    assert len(titles(history_of([2.0] * 20, max_norm=1.0))) == 1


def test_clipping_that_never_acts_is_a_note():
    """The note gives the largest norm, the threshold, and a threshold that would act."""
    finding = only(history_of(QUIET, max_norm=50.0))
    assert finding.title == "Clipping never acted in 300 steps"
    assert f"The largest norm was {max(QUIET):.3g}, the threshold 50" in finding.detail
    assert "max_norm=1.5, the P90 of these norms, would clip 9.3% of these steps" in finding.remedy
    assert titles(history_of(QUIET[:99], max_norm=50.0)) == []
