"""`TruncationBias`: the gradient of truncated backpropagation through time, compared with the full one."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from lightning_clip import CharTextDataModule, TBPTTModule, read_jsonl
from lightning_clip.studies import load_study
from lightning_clip.studies.cell import Cell
from lightning_clip.studies.experiments import TruncationBias, truncation_bias
from lightning_clip.studies.experiments.truncation_bias import _chunks, _gradient
from lightning_clip.studies.runner import run_cell

DATA: dict[str, Any] = {
    "class_path": "lightning_clip.CharTextDataModule",
    "init_args": {"truncated_bptt_steps": 16, "batch_size": 4},
}
WINDOW = 64
cells = pytest.mark.parametrize("cell", ["rnn", "lstm"])


def model_config(cell: str) -> dict[str, Any]:
    return {"class_path": "lightning_clip.TBPTTModule", "init_args": {"cell": cell, "hidden_size": 16}}


def run_once(tmp_path, cell: str = "rnn", *, chunk: int, seed: int = 0, **trainer: Any):
    """Run over 64 steps, by default without training."""
    return run_cell(
        Cell(
            model_name=cell,
            model=model_config(cell),
            strategy_name="norm-1.0",
            strategy={"class_path": "lightning_clip.NormClip", "init_args": {"max_norm": 1.0}},
            data=DATA,
            seed=seed,
            trainer={"max_epochs": 0, **trainer},
            axes={"chunk": chunk},
            experiment={
                "class_path": "lightning_clip.studies.experiments.TruncationBias",
                "init_args": {"chunk": chunk, "window": WINDOW},
            },
        ),
        tmp_path / f"{cell}-{chunk}-{seed}.jsonl",
    )


def by_hand(model: TBPTTModule, chunk: int) -> torch.Tensor:
    """The same gradient, from the whole window with a detached state between chunks."""
    data = CharTextDataModule(truncated_bptt_steps=WINDOW, batch_size=4)
    data.setup("fit")
    window = next(iter(data.train_dataloader()))
    hiddens, losses = None, []
    for inputs, targets in zip(window.inputs.split(chunk, 1), window.targets.split(chunk, 1), strict=True):
        states, hiddens = model.recurrent(model.encoder(inputs), hiddens)
        hiddens = tuple(h.detach() for h in hiddens) if isinstance(hiddens, tuple) else hiddens.detach()
        losses.append(nn.functional.cross_entropy(model.head(states).flatten(0, 1), targets.flatten(), reduction="sum"))
    (gradient,) = torch.autograd.grad(torch.stack(losses).sum() / (4 * WINDOW), [model.recurrent.weight_hh_l0])
    return gradient.flatten().double()


@pytest.fixture
def _short_for_memory(monkeypatch):
    """Memory, which takes longest to measure, over fewer steps: for tests that do not look at it."""
    monkeypatch.setattr(truncation_bias, "_SHORT", 64)
    monkeypatch.setattr(truncation_bias, "_LONG", 64)


@cells
@pytest.mark.parametrize("chunk", [1, 16, WINDOW])
def test_the_gradients_are_those_by_hand(cell, chunk):
    """They are those of the mean loss over the window, cut between chunks and nowhere else."""
    torch.manual_seed(0)
    model = TBPTTModule(128, 128, cell=cell, hidden_size=16)
    torch.testing.assert_close(
        _gradient(model, _chunks(DATA, chunk, WINDOW)), by_hand(model, chunk), rtol=1e-4, atol=1e-8
    )


@pytest.mark.usefixtures("_short_for_memory")
@cells
def test_longer_chunks_have_a_smaller_error(tmp_path, cell):
    """The error falls with the length of the chunks, to zero if a chunk is the whole window."""
    results = [run_once(tmp_path, cell, chunk=chunk) for chunk in (1, 4, 16, WINDOW)]
    errors = [result.metrics["relative_error"] for result in results]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.3
    assert errors[-1] < 1e-6
    cosines = [result.metrics["cosine"] for result in results]
    assert cosines == sorted(cosines)
    assert cosines[2] > 0.98
    assert cosines[-1] == pytest.approx(1)


@cells
def test_memory_is_that_of_a_chunk(tmp_path, cell):
    """It is the same over 256 and 1,024 steps, and grows linearly with the length of the chunks."""
    sizes = {chunk: run_once(tmp_path, cell, chunk=chunk).metrics for chunk in (16, 32, 64)}
    assert all(metrics["saved_bytes"] == metrics["saved_bytes_long"] for metrics in sizes.values())
    bytes_of = {chunk: metrics["saved_bytes"] for chunk, metrics in sizes.items()}
    assert 2 * (bytes_of[32] - bytes_of[16]) == bytes_of[64] - bytes_of[32] > 0


@pytest.mark.usefixtures("_short_for_memory")
def test_without_training_weights_are_those_of_the_seed(tmp_path):
    """Each seed has its own weights, the same seed gives the same numbers, and no training leaves no record."""
    first, again, other = (run_once(tmp_path, chunk=4, seed=seed) for seed in (0, 0, 1))
    assert first.metrics == again.metrics != other.metrics
    assert (first.steps, first.diverged) == (0, False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_short_for_memory")
def test_a_trained_model_is_measured_after_its_training(tmp_path):
    """Training takes as long as the trainer's options say, with the strategy and a record of the steps."""
    untrained = run_once(tmp_path, chunk=4)
    result = run_once(tmp_path, chunk=4, max_epochs=1, limit_train_batches=12)
    assert result.steps == 12
    assert result.metrics["relative_error"] != untrained.metrics["relative_error"]
    run, history = read_jsonl(tmp_path / "rnn-4-0.jsonl")
    assert (run.model, len(history)) == ("TBPTTModule", 12)
    assert result.clipped_fraction == history.aggregates[0].clipped / 12
    assert "sha256" in result.data


@pytest.mark.usefixtures("_short_for_memory")
def test_a_training_that_diverges_has_no_bias(tmp_path):
    """A run that diverged before it could be measured has no metrics."""
    rate = {"init_args": {"optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": math.inf}}}}
    study = load_study("tbptt-bias")
    cell = next(cell for cell in study.cells() if cell.model_name == "rnn-trained" and cell.axes["chunk"] == 64)
    model = {"class_path": cell.model["class_path"], "init_args": {**cell.model["init_args"], **rate["init_args"]}}
    result = run_cell(replace(cell, model=model, trainer={"max_epochs": 1, "limit_train_batches": 4}), tmp_path / "r")
    assert result.diverged
    assert result.diverged_at_step == result.steps
    assert set(result.metrics.values()) == {None}


def test_the_built_in_study_measures_each_chunk_on_each_model():
    """It has chunks of 1 to 256 steps, on new networks and after 2 epochs."""
    cells = [cell for cell in load_study("tbptt-bias").cells() if cell.seed == 0]
    assert {(cell.model_name, cell.axes["chunk"]) for cell in cells} == {
        (model, chunk) for model in ("rnn", "lstm", "rnn-trained", "lstm-trained") for chunk in (1, 4, 16, 64, 256)
    }
    for cell in cells:
        assert cell.experiment["init_args"]["chunk"] == cell.axes["chunk"]
        assert cell.trainer["max_epochs"] == (2 if "trained" in cell.model_name else 0)


@pytest.mark.parametrize(("arguments", "call"), [({"chunk": 0}, "chunk=0"), ({"window": 0}, "window=0")])
def test_bad_arguments_are_refused(arguments, call):
    """Lengths are whole numbers of at least 1."""
    with pytest.raises(ValueError, match=rf"TruncationBias\({call}\)"):
        TruncationBias(**arguments)
