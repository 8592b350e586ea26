"""`run_cell`: one run of a study; `run_study`: many runs, one or several at a time."""

import multiprocessing
import re
import time
from dataclasses import replace

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from lightning_clip import read_jsonl
from lightning_clip._errors import InputError
from lightning_clip.studies import Cell, ResultsFolder, StudyResults, run_cell, run_study
from lightning_clip.studies.environment import environment
from tests.support.studies import result, steps_in, timeless, timeless_runs, tiny_study

UNCLIPPED, _, CLIPPED, _ = tiny_study().cells()
BROKEN = {"a": {"class_path": "MLPRegressor"}, "b": {"class_path": "tests.support.studies.BrokenMLP"}}


def with_model(name: str, cell: Cell = CLIPPED) -> Cell:
    return replace(cell, model={"class_path": f"tests.support.studies.{name}"})


def test_a_run_has_metrics_on_train_and_test_data(tmp_path):
    """A run that stays finite has metrics, and its result names the run."""
    result = run_cell(CLIPPED, tmp_path / "run.jsonl")
    assert result.key == CLIPPED.key == ("mlp", "norm-1.0", (), 0)
    assert result.metrics.keys() == {"train_mse", "test_mse"}
    assert all(value is not None and value > 0 for value in result.metrics.values())
    assert (result.diverged, result.diverged_at_step, result.steps) == (False, None, 16)
    assert result.clipped_fraction == 1.0
    assert 0 < result.seconds < 60


def test_a_diverged_run_has_no_metrics_and_a_step(tmp_path):
    """A run stops at its first NaN or infinite gradient, and has no metrics."""
    result = run_cell(UNCLIPPED, tmp_path / "run.jsonl")
    first_bad = next(step["step"] for step in steps_in(tmp_path / "run.jsonl") if not step["finite"])
    assert result.diverged
    assert result.diverged_at_step == first_bad
    assert result.metrics == {"train_mse": None, "test_mse": None}
    assert steps_in(tmp_path / "run.jsonl")[-1]["step"] == first_bad
    assert result.clipped_fraction == 0.0


def test_a_final_metric_that_is_not_finite_is_divergence(tmp_path):
    """A run whose gradients stayed finite has diverged if its test metric is NaN."""
    result = run_cell(with_model("ForgetfulMLP"), tmp_path / "run.jsonl")
    assert (result.diverged, result.diverged_at_step) == (True, 16)
    assert set(result.metrics.values()) == {None}


def test_every_step_is_recorded(tmp_path):
    """The record of a run has a header and each step."""
    record = tmp_path / "records" / "run.jsonl"
    run_cell(CLIPPED, record)
    run, history = read_jsonl(record)
    assert (run.model, len(history), history.aggregates[0].clipped) == ("MLPRegressor", 16, 16)
    assert run.strategy.startswith("NormClip(max_norm=1.0")


def test_the_same_seed_gives_the_same_numbers(tmp_path):
    """A run does not depend on earlier runs, and another seed gives other numbers."""
    first = run_cell(CLIPPED, tmp_path / "a.jsonl")
    other = run_cell(replace(CLIPPED, seed=1), tmp_path / "b.jsonl")
    torch.rand(7)
    again = run_cell(CLIPPED, tmp_path / "c.jsonl")
    assert timeless([first]) == timeless([again])
    assert steps_in(tmp_path / "a.jsonl") == steps_in(tmp_path / "c.jsonl")
    assert first.metrics != other.metrics


def test_the_record_of_an_interrupted_run_is_replaced(tmp_path):
    """A repeated run does not append to the record of its first attempt."""
    record = tmp_path / "run.jsonl"
    run_cell(replace(CLIPPED, seed=1, trainer={"max_epochs": 2}), record)
    run_cell(CLIPPED, record)
    run_cell(CLIPPED, tmp_path / "alone.jsonl")
    assert steps_in(record) == steps_in(tmp_path / "alone.jsonl")


def test_denormals_are_zero_in_a_run_and_nowhere_else(tmp_path):
    """A run flushes numbers below 1e-38 to zero, and restores the mode afterwards."""
    tiny = torch.tensor(1e-40)
    result = run_cell(with_model("DenormalMLP"), tmp_path / "run.jsonl")
    assert result.metrics["test_denormal"] == 0.0
    assert float(tiny * 0.5) > 0.0


def test_a_run_says_what_its_data_are(tmp_path):
    """The result has the description of the data module, and the axes."""
    text = {"class_path": "lightning_clip.CharTextDataModule", "init_args": {"batch_size": 4}}
    net = {"class_path": "lightning_clip.TBPTTModule", "init_args": {"hidden_size": 4}}
    few = {"max_steps": 2, "limit_test_batches": 1}
    result = run_cell(replace(CLIPPED, model=net, data=text, trainer=few, axes={"chunk": 64}), tmp_path / "run.jsonl")
    assert re.fullmatch(r"the text inside Python 3\.\d+\.\d+: [\d,]+ characters, sha256 [0-9a-f]{64}", result.data)
    assert result.axes == {"chunk": 64}


def test_the_trainer_takes_the_options_of_the_study(tmp_path):
    """The trainer gets the options of the study."""
    result = run_cell(replace(CLIPPED, trainer={"max_epochs": 2, "limit_train_batches": 3}), tmp_path / "run.jsonl")
    assert result.steps == 6


def test_a_trainer_that_clips_too_is_refused(tmp_path):
    """A study cannot set `gradient_clip_val`, because the strategies would then see clipped gradients."""
    clipping = replace(CLIPPED, trainer={"max_epochs": 1, "gradient_clip_val": 1.0})
    with pytest.raises(MisconfigurationException, match="Remove `gradient_clip_val`"):
        run_cell(clipping, tmp_path / "run.jsonl")


def test_a_defect_is_not_divergence(tmp_path):
    """An exception in a module is raised, and not reported as a result."""
    with pytest.raises(RuntimeError, match="a defect"):
        run_cell(with_model("BrokenMLP"), tmp_path / "run.jsonl")


def test_every_cell_is_run(tmp_path):
    """Results are in the order of the study, and on disk with a record of each run."""
    study, folder = tiny_study(), ResultsFolder(tmp_path)
    results = run_study(study, folder)
    assert [one.key for one in results] == [cell.key for cell in study.cells()]
    assert folder.read() == StudyResults("tiny", results, environments=(environment(),))
    assert {path.name for path in folder.records.iterdir()} == {
        f"mlp-{strategy}-{seed}.jsonl" for strategy in ("none", "norm-1.0") for seed in (0, 1)
    }


def test_two_jobs_give_the_results_of_one(tmp_path):
    """The number of jobs changes nothing in the results and the records."""
    one, two = ResultsFolder(tmp_path / "one"), ResultsFolder(tmp_path / "two")
    assert timeless(run_study(tiny_study(), one, jobs=1)) == timeless(run_study(tiny_study(), two, jobs=2))
    assert timeless_runs(one.path) == timeless_runs(two.path)
    for cell in tiny_study().cells():
        assert steps_in(one.record_of(cell.key)) == steps_in(two.record_of(cell.key))


def test_results_are_on_disk_as_each_run_ends(tmp_path):
    """When `on_result` is called, the result can already be read."""
    folder, seen = ResultsFolder(tmp_path), []

    def note(finished):
        seen.append([one.key for one in folder.read().runs])
        assert finished.key in seen[-1]

    run_study(tiny_study(), folder, on_result=note)
    assert [len(keys) for keys in seen] == [1, 2, 3, 4]


def test_finished_runs_are_kept(tmp_path):
    """Only missing cells run, and a finished run that the study no longer includes is not lost."""
    folder, announced = ResultsFolder(tmp_path), []
    finished = [result("none", 1), result("norm-1.0", 7)]
    results = run_study(tiny_study(), folder, finished=finished, on_result=announced.append)
    assert [one.key[1::2] for one in announced] == [("none", 0), ("norm-1.0", 0), ("norm-1.0", 1)]
    assert [one.key[1::2] for one in results] == [(s, n) for s in ("none", "norm-1.0") for n in (0, 1)] + [
        ("norm-1.0", 7)
    ]
    assert (results[1], results[4]) == (finished[0], finished[1])
    assert folder.read().runs == results


def test_results_are_never_overwritten(tmp_path):
    """A folder with results of other runs is refused before anything runs."""
    folder = ResultsFolder(tmp_path)
    folder.write("tiny", [result()])
    with pytest.raises(
        InputError, match="contains results that would be lost; name a new folder, or pass them as `finished`"
    ):
        run_study(tiny_study(), folder)
    assert folder.read() == StudyResults("tiny", [result()])


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_defect_ends_the_study_and_loses_nothing(tmp_path, jobs):
    """An exception in a run is raised, finished runs are on disk, and no process of ours is left."""
    folder = ResultsFolder(tmp_path)
    bystander = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    bystander.start()
    try:
        with pytest.raises(RuntimeError, match="a defect"):
            run_study(tiny_study(models=BROKEN, seeds=1), folder, jobs=jobs)
        assert multiprocessing.active_children() == [bystander]
    finally:
        bystander.kill()
        bystander.join()
    assert all(one.model == "a" for one in folder.read().runs)
    assert jobs == 2 or len(folder.read().runs) == 2


def test_cells_that_are_the_same_run_are_run_once(tmp_path, monkeypatch):
    """A cell that only spells out defaults shares the result and the record of the other, under its own name."""
    norm, made = {"class_path": "lightning_clip.NormClip"}, []

    def run_once(cell, record):
        made.append(cell.strategy_name)
        return run_cell(cell, record)

    monkeypatch.setattr("lightning_clip.studies.runner.run_cell", run_once)
    spelled_out = {**norm, "init_args": {"max_norm": 1.0}, "model": {"init_args": {"activation": "relu"}}}
    strategies = {"a": norm, "same": spelled_out, "b": {**norm, "init_args": {"max_norm": 2.0}}}
    folder, announced = ResultsFolder(tmp_path), []
    first, same, other = run_study(
        tiny_study(strategies=strategies, seeds=1), folder, on_result=lambda one: announced.append(one.strategy)
    )
    assert (made, announced) == (["a", "b"], ["a", "same", "b"])
    assert same == replace(first, strategy="same")
    assert other.metrics != first.metrics
    assert steps_in(folder.record_of(same.key)) == steps_in(folder.record_of(first.key))


def test_a_misspelled_metric_is_found_before_the_first_run(tmp_path):
    """The message says which metrics the runs have, and nothing is left behind."""
    known = "train_mse, test_mse; did you mean 'test_mse'"
    with pytest.raises(InputError, match=f"metrics: 'test_ms' is not among those of the runs: {known}"):
        run_study(tiny_study(metrics=["train_mse", "test_ms"]), ResultsFolder(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_metrics_of_callbacks_are_known_before_the_first_run(tmp_path):
    """A metric that only a `StudyMetric` has needs no test of the model."""
    largest = {"class_path": "lightning_clip.studies.LargestNorm"}
    study = tiny_study(callbacks=[largest], metrics=["max_norm"], seeds=1, trainer={"limit_train_batches": 1})
    assert all(one.metrics["max_norm"] > 0 for one in run_study(study, ResultsFolder(tmp_path)))


def test_a_study_resumed_elsewhere_names_both_machines(tmp_path, monkeypatch):
    """`environments` has one entry for each machine or version that made runs."""
    folder = ResultsFolder(tmp_path)
    folder.write("tiny", [result("none", 0)], environments=[{"cpu": "another"}])
    run_study(tiny_study(seeds=1), folder, finished=folder.read().runs)
    assert folder.read().environments == ({"cpu": "another"}, environment())
    run_study(tiny_study(seeds=1), folder, finished=folder.read().runs)
    assert len(folder.read().environments) == 2
