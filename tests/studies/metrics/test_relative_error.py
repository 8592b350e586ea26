"""`RelativeError`: the test error as a fraction of the variance."""

import pytest

from lightning_clip.studies import ResultsFolder, run_study
from tests.support.studies import tiny_study

NORM = {"class_path": "lightning_clip.NormClip"}
STANDARDIZED = {"data": {"init_args": {"standardize_target": True}}}


def test_it_is_the_test_error_over_the_variance(tmp_path):
    """It equals the test MSE divided by the variance of the test targets, and does not depend on their unit."""
    study = tiny_study(
        strategies={"raw": NORM, "standardized": {**NORM, **STANDARDIZED}},
        callbacks=[{"class_path": "lightning_clip.studies.RelativeError"}],
        seeds=1,
        evaluate_on=["test"],
    )
    raw, standardized = (run.metrics for run in run_study(study, ResultsFolder(tmp_path)))
    variances = [metrics["test_mse"] / metrics["test_relative_mse"] for metrics in (raw, standardized)]
    assert variances[0] == pytest.approx(25_500, rel=0.2)
    assert variances[1] == pytest.approx(1, rel=0.3)


def test_a_run_that_diverged_has_none(tmp_path):
    """The weights of a diverged run predict nothing."""
    study = tiny_study(
        strategies={"none": {"class_path": "lightning_clip.NoClip"}},
        callbacks=[{"class_path": "lightning_clip.studies.RelativeError"}],
        seeds=1,
        evaluate_on=[],
        metrics=["test_relative_mse"],
    )
    (run,) = run_study(study, ResultsFolder(tmp_path))
    assert run.diverged
    assert run.metrics == {"test_relative_mse": None}
