"""`StudyMetric`, by `LargestNorm` and `RecurrentWeights`: metrics that callbacks add to a result."""

from dataclasses import replace

import pytest
import torch
from lightning.pytorch import Trainer

from lightning_clip import RNNModule, read_jsonl
from lightning_clip.studies import Cell, LargestNorm, RecurrentWeights, run_cell
from tests.support.studies import tiny_study

LARGEST = {"class_path": "lightning_clip.studies.LargestNorm"}
UNCLIPPED, _, CLIPPED, _ = tiny_study(callbacks=[LARGEST]).cells()


def test_a_study_metric_adds_to_the_metrics(tmp_path):
    """The largest norm is the largest norm before clipping in the record."""
    result = run_cell(CLIPPED, tmp_path / "run.jsonl")
    _, history = read_jsonl(tmp_path / "run.jsonl")
    assert result.metrics.keys() == {"train_mse", "test_mse", "max_norm"}
    assert result.metrics["max_norm"] == history.column("norm_before").max()


def test_a_study_metric_of_a_diverged_run_is_kept(tmp_path):
    """A run that diverged has a largest finite norm, and no metrics on data."""
    result = run_cell(UNCLIPPED, tmp_path / "run.jsonl")
    assert result.diverged
    assert result.metrics["test_mse"] is None
    assert result.metrics["max_norm"] > 1e10


def test_only_the_chosen_metrics_are_kept(tmp_path):
    """`metrics` chooses and orders them; an unknown one has no value."""
    cell: Cell = replace(CLIPPED, metrics=("max_norm", "test_mse", "test_error"))
    result = run_cell(cell, tmp_path / "run.jsonl")
    assert list(result.metrics) == ["max_norm", "test_mse", "test_error"]
    assert result.metrics["test_error"] is None


def test_evaluation_on_one_split_only(tmp_path):
    """`evaluate_on` chooses the splits that the trained model is tested on."""
    result = run_cell(replace(CLIPPED, evaluate_on=("test",)), tmp_path / "run.jsonl")
    assert "train_mse" not in result.metrics


@pytest.mark.parametrize("scale", [0.5, 300.0])
def test_the_largest_singular_value_of_recurrent_weights(scale):
    """`sigma_max` of scaled orthogonal weights is the largest scale of all layers."""
    model, metric = RNNModule(num_layers=2, init="orthogonal", hidden_size=8), RecurrentWeights()
    with torch.no_grad():
        model.recurrent.weight_hh_l1.mul_(scale)
    metric.on_train_end(Trainer(accelerator="cpu", logger=False), model)
    assert metric.metrics == {"sigma_max": pytest.approx(max(1.0, scale))}


def test_weights_with_nan_have_no_singular_value():
    """A matrix with a NaN gives no value, and so does a metric without a training."""
    model, metric = RNNModule(hidden_size=8), RecurrentWeights()
    with torch.no_grad():
        model.recurrent.weight_hh_l0[0, 0] = torch.nan
    metric.on_train_end(Trainer(accelerator="cpu", logger=False), model)
    assert metric.metrics == {"sigma_max": None}
    assert LargestNorm().metrics == {"max_norm": None}
