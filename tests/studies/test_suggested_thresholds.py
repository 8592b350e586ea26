"""A threshold that `ClipThresholdFinder` found trains about as well as the best of a grid of six.

`pytest -m slow -s tests/studies/test_suggested_thresholds.py` prints the figures, with 5 seeds.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from lightning_clip import load_record
from lightning_clip.studies import ResultsFolder, Study, load_study, run_study
from lightning_clip.studies.comparison.result import RunResult

GRID = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
TOLERANCE = 1.1
FINDER = {"class_path": "lightning_clip.ClipThresholdFinder"}
DIABETES = {"source": "diabetes", "random_state": 1, "batch_size": 32, "standardize_target": False}


def norm_clip(threshold: float) -> dict[str, Any]:
    return {"class_path": "lightning_clip.NormClip", "init_args": {"max_norm": threshold}}


def study_of(task: str) -> tuple[Study, str]:
    """The study of a task, with its own network, rate and length, and the metric that is compared."""
    if task == "rnn-text":
        study = load_study("rnn-text")
        trainer = {**study.trainer, **study.settings[0]["trainer"]}
        models = {"rnn": study.models["rnn"]}
        return replace(study, models=models, settings=[], metrics=[], trainer=trainer), "test_bits_per_char"
    study = load_study("mlp-regression")
    if task == "diabetes":
        data = {"class_path": "lightning_clip.RegressionDataModule", "init_args": DIABETES}
        model = {"class_path": "lightning_clip.MLPRegressor", "init_args": {"in_features": 10}}
        study = replace(study, data=data, models={"mlp": model})
    return study, "test_mse"


@dataclass
class Outcome:
    """The runs of one threshold: a metric of each seed, and the thresholds, which a finder may choose by seed."""

    thresholds: list[float]
    scores: list[float]

    def __str__(self) -> str:
        values = sorted(set(self.thresholds))
        shown = f"{values[0]:g}" if len(values) == 1 else f"{values[0]:g} to {values[-1]:g}"
        return f"NormClip({shown}): {median(self.scores):.4g} [{min(self.scores):.4g} to {max(self.scores):.4g}]"


def outcome(task: str, folder: Path, threshold: float | None, **changes: Any) -> Outcome:
    """Train with a threshold, or with the one that the finder finds."""
    study, metric = study_of(task)
    clip, callbacks = norm_clip(threshold or 1.0), [] if threshold else [FINDER]
    results = ResultsFolder(folder / f"{task}-{threshold}")
    runs = run_study(replace(study, strategies={"clip": clip}, callbacks=callbacks, **changes), results, jobs=1)
    found = [load_record(results.record_of(run.key)).history[0].threshold for run in runs]
    return Outcome([value for value in found if value is not None], [score_of(run, metric) for run in runs])


def score_of(run: RunResult, metric: str) -> float:
    value = run.metrics[metric]
    return float("inf") if value is None else value


def test_in_a_short_run_the_suggestion_is_much_better_than_thresholds_beside_it(tmp_path):
    """The network that explodes without clipping: a tenth and ten times the suggestion leave three times the error."""
    found = outcome("mlp-regression", tmp_path, None, seeds=1, max_epochs=25)
    for factor in (0.1, 10.0):
        other = outcome("mlp-regression", tmp_path, factor * found.thresholds[0], seeds=1, max_epochs=25)
        assert other.scores[0] > 3 * found.scores[0]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["mlp-regression", "diabetes", "rnn-text"])
def test_the_suggestion_is_within_a_tenth_of_the_best_of_six(task, tmp_path):
    """The median of five seeds, in the error on the test data."""
    found = outcome(task, tmp_path, None)
    grid = [outcome(task, tmp_path, threshold) for threshold in GRID]
    print(task, f"found {found}", *grid, sep="\n  ")
    assert median(found.scores) <= TOLERANCE * min(median(one.scores) for one in grid)
