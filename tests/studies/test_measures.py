"""`LargestNorm` and `RecurrentWeights`: numbers that a training adds to its result."""

from dataclasses import replace

import pytest
import torch
from lightning.pytorch import Trainer

from lightning_clip import RNNModule, read_jsonl
from lightning_clip.studies import Cell, LargestNorm, RecurrentWeights, run_cell
from tests.support.studies import tiny_study

LARGEST = {"class_path": "lightning_clip.studies.LargestNorm"}
UNCLIPPED, _, CLIPPED, _ = tiny_study(callbacks=[LARGEST]).cells()


def test_a_measure_adds_to_the_metrics(tmp_path):
    """The largest norm before clipping is the largest in the record."""
    result = run_cell(CLIPPED, tmp_path / "run.jsonl")
    _, history = read_jsonl(tmp_path / "run.jsonl")
    assert result.metrics.keys() == {"train_mse", "test_mse", "max_norm"}
    assert result.metrics["max_norm"] == history.column("norm_before").max()


def test_a_measure_of_a_run_that_diverged_is_kept(tmp_path):
    """The largest finite norm of a run that diverged is a number; what it would have measured on data is not."""
    result = run_cell(UNCLIPPED, tmp_path / "run.jsonl")
    assert result.diverged
    assert result.metrics["test_mse"] is None
    assert result.metrics["max_norm"] > 1e10


def test_only_the_metrics_that_are_asked_for_are_kept(tmp_path):
    """`metrics` chooses and orders; one that there is not is no number."""
    cell: Cell = replace(CLIPPED, metrics=("max_norm", "test_mse", "test_error"))
    result = run_cell(cell, tmp_path / "run.jsonl")
    assert list(result.metrics) == ["max_norm", "test_mse", "test_error"]
    assert result.metrics["test_error"] is None


def test_evaluation_on_one_split_only(tmp_path):
    """`evaluate_on` says which data the trained model is tested on."""
    result = run_cell(replace(CLIPPED, evaluate_on=("test",)), tmp_path / "run.jsonl")
    assert "train_mse" not in result.metrics


@pytest.mark.parametrize("scale", [0.5, 300.0])
def test_the_largest_singular_value_of_recurrent_weights(scale):
    """`sigma_max` of scaled orthogonal weights is the scale, over all layers."""
    model, measure = RNNModule(num_layers=2, init="orthogonal", hidden_size=8), RecurrentWeights()
    with torch.no_grad():
        model.recurrent.weight_hh_l1.mul_(scale)
    measure.on_train_end(Trainer(accelerator="cpu", logger=False), model)
    assert measure.metrics == {"sigma_max": pytest.approx(max(1.0, scale))}


def test_weights_that_are_not_finite_have_no_singular_value():
    """A matrix with a NaN, or a model without recurrent weights, gives no number."""
    model, measure = RNNModule(hidden_size=8), RecurrentWeights()
    with torch.no_grad():
        model.recurrent.weight_hh_l0[0, 0] = torch.nan
    measure.on_train_end(Trainer(accelerator="cpu", logger=False), model)
    assert measure.metrics == {"sigma_max": None}
    assert LargestNorm().metrics == {"max_norm": None}
