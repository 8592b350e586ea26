"""A bad step that was captured is taken again, bit for bit, and names its sample."""

import json
import math

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import nn
from torch.utils.data import TensorDataset

from lightning_clip import BadStepCapture, UpdateRMSClip, replay
from lightning_clip._errors import InputError
from lightning_clip.core.gradients import Gradients
from lightning_clip.replays import load_capture
from lightning_clip.reports import to_text
from tests.reports.sick_runs.tuned import bad_target
from tests.support.bad_sample import BAD, BATCH, Plain, Recurrent, TwoHeads, captured, chunked, loader, rows


def worst_of(module, capture):
    result = replay(capture.paths[0], module)
    assert result.is_exact, result.difference
    return result


def test_the_sick_run_names_its_sample(tmp_path, monkeypatch):
    """Sample 333 of 640 has a bad target: the replay names it, at position 13 of batch 20."""
    capture, kept = BadStepCapture(folder=tmp_path), {}

    def fitted(module, data, **options):
        kept["module"] = module
        return original(module, data, also=[capture], **options)

    original = bad_target.fitted
    monkeypatch.setattr(bad_target, "fitted", fitted)
    bad_target.train()
    assert [path.name for path in capture.paths] == [f"step-{step:06d}-spike.pt" for step in (20, 60, 100)]
    for path in capture.paths:
        result = replay(path, kept["module"])
        assert result.is_exact
        assert (result.capture.batch, result.worst.position, result.worst.index) == (20, 13, 333)
        assert result.values["targets"] == [1e4]
        assert result.how == "all at once, with torch.func"


@pytest.mark.parametrize("workers", [0, 2])
def test_shuffled_data_names_the_sample(workers, tmp_path):
    """The index in the dataset is that of the shuffled sample, with workers that fetch ahead too."""
    torch.manual_seed(1)
    data = loader(shuffle=True, num_workers=workers)
    result = worst_of(Plain(), captured(Plain(), tmp_path, data))
    assert result.worst.index == BAD
    assert result.values["targets"] == [1e4]


def test_an_accumulation_is_taken_as_a_whole(tmp_path):
    """Both batches of the step are repeated, and the bad sample is in the second."""
    result = worst_of(Plain(), captured(Plain(), tmp_path, accumulate_grad_batches=2, max_epochs=2))
    assert (result.capture.first_batch, result.capture.batch) == (4, 5)
    assert (result.worst.batch, result.worst.position, result.worst.index) == (1, BAD % BATCH, BAD)
    assert len(result.samples) == 2 * BATCH


def test_the_chunk_of_truncated_bptt_is_named(tmp_path):
    """Only the bad chunk is repeated, from the state before it."""
    data = rows(shape=(16, 2), targets=(16, 1), bad=0.0)
    data.tensors[1][BAD, 9] = 1e4
    result = worst_of(chunked(), captured(chunked(), tmp_path, loader(data)))
    assert result.capture.chunks == [2, 2]
    assert result.worst.index == BAD
    (norms,) = result.by_step.values()
    assert len(norms) == 4
    assert max(norms) == norms[1]


def test_chunks_that_are_accumulated_are_taken_together(tmp_path):
    """With two chunks per step and longer backward passes, the step is that of both."""
    data = rows(shape=(16, 2), targets=(16, 1), bad=0.0)
    data.tensors[1][BAD, 9] = 1e4
    options = {"accumulate_chunks": 2, "backward_steps": 8, "dropout": 0.5}
    result = worst_of(chunked(**options), captured(chunked(**options), tmp_path, loader(data)))
    assert result.capture.chunks == [2, 3]
    assert result.worst.index == BAD


def test_the_second_of_two_optimizers_is_taken_after_the_first(tmp_path):
    """The step of the first optimizer is made again before that of the second."""
    result = worst_of(TwoHeads(), captured(TwoHeads(), tmp_path))
    assert (result.capture.optimizer, result.capture.steps_before) == (1, 1)
    assert result.worst.index == BAD
    assert set(result.norms) == {"head.weight", "head.bias"}


@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"norm": True}, {"manual": True}], ids=str)
def test_random_numbers_and_buffers_are_those_before_the_step(options, tmp_path):
    """Dropout masks and BatchNorm statistics are the same; a copy of the module stays as it is."""
    module = Plain(**options)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    result = worst_of(module, captured(Plain(**options), tmp_path))
    assert result.worst.index == BAD
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "64-true"])
def test_the_precision_is_that_of_the_run(precision, tmp_path):
    """In mixed precision too, with the scale of the scaler."""
    scaler = torch.amp.GradScaler("cpu", init_scale=0.5)
    plugins = [MixedPrecision("16-mixed", "cpu", scaler=scaler)] if precision == "16-mixed" else None
    options = {"plugins": plugins} if plugins else {"precision": precision}
    data = loader(rows(bad=500.0))
    assert worst_of(Plain(), captured(Plain(), tmp_path, data, **options)).worst.index == BAD


def test_a_recurrent_sample_is_shown_by_time_gate_and_layer(tmp_path):
    """The gradient at each time step, and the norm of each gate."""
    data = rows(shape=(10, 2))
    result = worst_of(Recurrent(), captured(Recurrent(), tmp_path, loader(data)))
    assert result.worst.index == BAD
    assert list(result.by_step) == ["lstm"]
    assert len(result.by_step["lstm"]) == 10
    assert set(result.gates["lstm.weight_hh_l0"]) == {"input", "forget", "cell", "output"}
    text = to_text(result.report(), width=80)
    assert "Its gradient at the inputs of lstm, by time step" in text
    assert "largest gate" in text


def test_the_first_module_that_is_not_finite_is_named(tmp_path):
    """An overflow within the network is found where it begins."""

    class Exploding(Plain):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            return loss * (self.net[0](batch[0]).exp().sum() if batch[1].abs().max() > 1e3 else 1.0)

    data = rows()
    data.tensors[0][BAD] = 1e4
    result = worst_of(Exploding(), captured(Exploding(), tmp_path, loader(data)))
    assert result.capture.reason == "non-finite"
    assert result.first_non_finite == ("net.0", "gradient")
    assert result.worst.index == BAD
    assert not math.isfinite(result.worst.norm)
    json.dumps(result.to_dict(), allow_nan=False)


def test_nan_in_the_data_is_told(tmp_path):
    """A batch that contains NaN is the cause, whatever the network does."""
    data = rows()
    data.tensors[0][BAD, 2] = math.nan
    result = worst_of(Plain(), captured(Plain(), tmp_path, loader(data), max_steps=6, max_epochs=1))
    assert any("the batch itself contains NaN" in note for note in result.notes)
    assert result.first_non_finite == ("net.0", "output")


def test_every_strategy_is_asked(tmp_path):
    """The norm after `NormClip` is its limit; `AutoClip` has seen the norms of the steps before."""
    result = worst_of(Plain(), captured(Plain(), tmp_path, capture=warmed(tmp_path), max_epochs=4))
    found = {one.strategy.partition("(")[0]: one for one in result.outcomes}
    assert found["NormClip"].verdict == "clipped"
    assert found["NormClip"].norm_after == pytest.approx(1.0, rel=1e-4)
    usual = sorted(result.capture.norms_before)
    assert usual[0] < found["AutoClip"].norm_after < usual[len(usual) // 2]
    assert not found.keys() & {"NoClip", "Chain", "Tightest"}
    assert result.capture.norms_before[-1] < 100 < result.capture.norm


def test_a_strategy_that_reads_the_optimizer_is_asked_too(tmp_path):
    """`UpdateRMSClip` does to the replayed step what it does to the same step in a run, from the same moments."""

    class Twin(pl.Callback):
        def __init__(self):
            self.after = {}

        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            grads = Gradients.of_optimizer(optimizer)
            scaled = UpdateRMSClip().decide(grads).preview(grads)
            self.after[trainer.global_step] = float(scaled.total_norm())

    twin = Twin()
    result = worst_of(Plain(), captured(Plain(), tmp_path, capture=warmed(tmp_path), also=[twin], max_epochs=4))
    (found,) = (one for one in result.outcomes if one.strategy.startswith("UpdateRMSClip"))
    assert found.verdict == "clipped"
    assert found.norm_after == pytest.approx(twin.after[result.capture.step], rel=1e-5)
    assert "Not asked" not in to_text(result.report())


def test_an_optimizer_without_second_moments_is_told(tmp_path):
    """With SGD, the report says which strategy is missing, and why."""

    class Simple(Plain):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-3)

    result = worst_of(Simple(), captured(Simple(), tmp_path))
    (refused,) = (one for one in result.outcomes if one.verdict == "refused")
    assert refused.strategy.startswith("UpdateRMSClip")
    printed = " ".join(to_text(result.report()).split())
    assert "Not asked: UpdateRMSClip(" in printed
    assert "but SGD keeps none" in printed


def warmed(folder):
    """A callback that knows the norms of 30 steps before it finds one that stands out."""

    class Late(BadStepCapture):
        def look(self, trainer, pl_module, context):
            self.on = ("spike",) if trainer.global_step > 30 else ()
            super().look(trainer, pl_module, context)

    return Late(folder=folder, keep=1)


def test_the_report_fits_its_width(tmp_path):
    """No line is longer than the console, which names the sample and the verdict."""
    result = worst_of(Plain(), captured(Plain(), tmp_path))
    for width in (60, 80, 100):
        lines = to_text(result.report(), width=width).splitlines()
        assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert f"Worst sample: {BAD}, position {BAD % BATCH}" in text
    assert "equal the recorded ones, bit for bit" in text
    assert str(result).startswith("╭")


def test_a_changed_module_is_no_exact_replay(tmp_path):
    """Another loss is not the same step, and the report says by how much."""

    class Doubled(Plain):
        def training_step(self, batch, batch_idx):
            return 2 * super().training_step(batch, batch_idx)

    result = replay(captured(Plain(), tmp_path).paths[0], Doubled())
    assert not result.is_exact
    assert result.difference == pytest.approx(0.5)
    assert "differ from the recorded ones by 50% at most" in to_text(result.report())


def test_what_cannot_be_replayed_is_refused_in_one_line(tmp_path):
    """Other files, later versions and other modules are refused."""
    other = tmp_path / "weights.pt"
    torch.save({"a": torch.ones(1)}, other)
    with pytest.raises(InputError, match=r"weights\.pt: not a bad step; name a file that BadStepCapture has written"):
        load_capture(other)
    other.write_text("no archive")
    with pytest.raises(InputError, match="not a bad step"):
        load_capture(other)
    path = captured(Plain(), tmp_path).paths[0]
    with pytest.raises(InputError, match=r"a step of Plain, which Recurrent does not fit: .* build the module with"):
        replay(path, Recurrent())
    content = torch.load(path, weights_only=True)
    torch.save({**content, "version": 9}, tmp_path / "later.pt")
    with pytest.raises(InputError, match="version 9, expected 1"):
        load_capture(tmp_path / "later.pt")
    del content["norm"]
    torch.save(content, tmp_path / "part.pt")
    with pytest.raises(InputError, match="not whole"):
        load_capture(tmp_path / "part.pt")
    with pytest.raises(TypeError, match="module must be"):
        replay(path, nn.Linear(1, 1))


def test_a_sample_of_unknown_index_is_named_by_its_position(tmp_path):
    """Without a map-style dataset, the position in the batch is all there is."""

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield from TensorDataset(*rows().tensors)

    data = torch.utils.data.DataLoader(Stream(), batch_size=BATCH)
    result = worst_of(Plain(), captured(Plain(), tmp_path, data))
    assert (result.worst.position, result.worst.index) == (BAD % BATCH, None)
    assert any("did not tell which samples" in note for note in result.notes)
