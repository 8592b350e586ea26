"""`run_cell`: one run of a study."""

import re
from dataclasses import replace

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from lightning_clip import read_jsonl
from lightning_clip.studies import Cell, run_cell
from tests.support.studies import steps_in, timeless, tiny_study

UNCLIPPED, _, CLIPPED, _ = tiny_study().cells()


def with_model(name: str, cell: Cell = CLIPPED) -> Cell:
    return replace(cell, model={"class_path": f"tests.support.studies.{name}"})


def test_a_run_has_metrics_on_train_and_test_data(tmp_path):
    """A run that stays finite has numbers, and says which run it was."""
    result = run_cell(CLIPPED, tmp_path / "run.jsonl")
    assert result.key == CLIPPED.key == ("mlp", "norm-1.0", (), 0)
    assert result.metrics.keys() == {"train_mse", "test_mse"}
    assert all(value is not None and value > 0 for value in result.metrics.values())
    assert (result.diverged, result.diverged_at_step, result.steps) == (False, None, 16)
    assert result.clipped_fraction == 1.0
    assert 0 < result.seconds < 60


def test_a_diverged_run_has_no_metrics_and_a_step(tmp_path):
    """A run is stopped at its first gradient that is not finite; what it would measure is no number."""
    result = run_cell(UNCLIPPED, tmp_path / "run.jsonl")
    first_bad = next(step["step"] for step in steps_in(tmp_path / "run.jsonl") if not step["finite"])
    assert result.diverged
    assert result.diverged_at_step == first_bad
    assert result.metrics == {"train_mse": None, "test_mse": None}
    assert steps_in(tmp_path / "run.jsonl")[-1]["step"] == first_bad
    assert result.clipped_fraction == 0.0


def test_a_final_metric_that_is_not_finite_is_divergence(tmp_path):
    """A run whose gradients were finite to the end has diverged if its test metric is not a number."""
    result = run_cell(with_model("ForgetfulMLP"), tmp_path / "run.jsonl")
    assert (result.diverged, result.diverged_at_step) == (True, 16)
    assert set(result.metrics.values()) == {None}


def test_every_step_is_recorded(tmp_path):
    """The record of a run has its head, and each of its steps."""
    record = tmp_path / "records" / "run.jsonl"
    run_cell(CLIPPED, record)
    run, history = read_jsonl(record)
    assert (run.model, len(history), history.aggregates[0].clipped) == ("MLPRegressor", 16, 16)
    assert run.strategy.startswith("NormClip(max_norm=1.0")


def test_the_same_seed_gives_the_same_numbers(tmp_path):
    """A run does not depend on what ran before it; another seed gives other numbers."""
    first = run_cell(CLIPPED, tmp_path / "a.jsonl")
    other = run_cell(replace(CLIPPED, seed=1), tmp_path / "b.jsonl")
    torch.rand(7)
    again = run_cell(CLIPPED, tmp_path / "c.jsonl")
    assert timeless([first]) == timeless([again])
    assert steps_in(tmp_path / "a.jsonl") == steps_in(tmp_path / "c.jsonl")
    assert first.metrics != other.metrics


def test_the_record_of_an_interrupted_run_is_replaced(tmp_path):
    """A run that is made again does not continue the record of its first attempt."""
    record = tmp_path / "run.jsonl"
    run_cell(replace(CLIPPED, seed=1, trainer={"max_epochs": 2}), record)
    run_cell(CLIPPED, record)
    run_cell(CLIPPED, tmp_path / "alone.jsonl")
    assert steps_in(record) == steps_in(tmp_path / "alone.jsonl")


def test_denormals_are_zero_in_a_run_and_nowhere_else(tmp_path):
    """A run flushes numbers below 1e-38 to zero; what comes after it does not."""
    tiny = torch.tensor(1e-40)
    result = run_cell(with_model("DenormalMLP"), tmp_path / "run.jsonl")
    assert result.metrics["test_denormal"] == 0.0
    assert float(tiny * 0.5) > 0.0


def test_a_run_says_what_its_data_are(tmp_path):
    """What the data module says of itself goes with the result, and so do the axes."""
    text = {"class_path": "lightning_clip.CharTextDataModule", "init_args": {"batch_size": 4}}
    net = {"class_path": "lightning_clip.TBPTTModule", "init_args": {"hidden_size": 4}}
    few = {"max_steps": 2, "limit_test_batches": 1}
    result = run_cell(replace(CLIPPED, model=net, data=text, trainer=few, axes={"chunk": 64}), tmp_path / "run.jsonl")
    assert re.fullmatch(r"the text inside Python 3\.\d+\.\d+: [\d,]+ characters, sha256 [0-9a-f]{64}", result.data)
    assert result.axes == {"chunk": 64}


def test_the_trainer_takes_the_options_of_the_study(tmp_path):
    """Options of the trainer are those of the study."""
    result = run_cell(replace(CLIPPED, trainer={"max_epochs": 2, "limit_train_batches": 3}), tmp_path / "run.jsonl")
    assert result.steps == 6


def test_a_trainer_that_clips_too_is_refused(tmp_path):
    """A study cannot set `gradient_clip_val`: the strategies would see what it has left."""
    clipping = replace(CLIPPED, trainer={"max_epochs": 1, "gradient_clip_val": 1.0})
    with pytest.raises(MisconfigurationException, match="Remove `gradient_clip_val`"):
        run_cell(clipping, tmp_path / "run.jsonl")


def test_a_defect_is_not_divergence(tmp_path):
    """An exception in a module is raised, not taken for a result."""
    with pytest.raises(RuntimeError, match="a defect"):
        run_cell(with_model("BrokenMLP"), tmp_path / "run.jsonl")
