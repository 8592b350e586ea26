"""DDP on two processes: both ranks make the same decisions, and there is one record."""

import math

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch.multiprocessing import ProcessRaisedException

from lightning_clip import (
    AutoClip,
    Chain,
    ClipThresholdFinder,
    GradientClipping,
    JsonlSink,
    NonFiniteGuard,
    NormClip,
    RichGradientReport,
    SkipSpikes,
    StrategySwitcher,
    ValueClip,
    read_jsonl,
)
from tests.support.processes import fit_in_two
from tests.support.training import ManualNet, Net, assert_same_weights, loader, quiet_trainer

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")

SPIKE = 4


class Spiking(Net):
    """Multiplies the loss of one rank at one batch."""

    def __init__(self, kind: str = "adam", *, factor: float = 1000.0, rank: int = 1) -> None:
        super().__init__(kind)
        self.factor, self.bad_rank = factor, rank

    def training_step(self, batch, batch_idx):
        bad = batch_idx == SPIKE and self.global_rank == self.bad_rank
        return super().training_step(batch, batch_idx) * (self.factor if bad else 1.0)


class ManualSpiking(Spiking, ManualNet):
    """Multiplies the loss of one rank in the manual backward pass of one step."""

    def training_step(self, batch, batch_idx):
        return ManualNet.training_step(self, batch, batch_idx)

    def manual_backward(self, loss, *args, **kwargs):
        bad = self.trainer.global_step == SPIKE and self.global_rank == self.bad_rank
        super().manual_backward(loss * (self.factor if bad else 1.0), *args, **kwargs)


class OneRanksNan(pl.Callback):
    """Puts NaN into an already reduced gradient, on one rank only."""

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == SPIKE and trainer.global_rank == 1:
            pl_module.net[0].weight.grad[0, 0] = math.nan


def assert_same_run(ranks):
    """Assert that both ranks have the same weights, metrics, events and records, except for the loss of a record."""
    first, second = ranks
    assert_same_weights(first["weights"], second["weights"])
    assert first["events"] == second["events"]
    assert first["metrics"] == second["metrics"]
    assert [{**r, "loss": 0} for r in first["records"]] == [{**r, "loss": 0} for r in second["records"]]


@pytest.mark.parametrize("module", [Spiking, ManualSpiking], ids=["automatic", "manual"])
@pytest.mark.parametrize(
    "strategy",
    [NormClip(0.7), AutoClip(50), Chain([ValueClip(0.5), NormClip(0.7)]), SkipSpikes(window=4, max_fraction=1.0)],
    ids=lambda strategy: type(strategy).__name__,
)
def test_both_ranks_decide_the_same(module, strategy, tmp_path):
    """They decide the same at every step, including a spike on one rank."""
    ranks = fit_in_two(module(), [GradientClipping(strategy), NonFiniteGuard()], tmp_path, log_every_n_steps=1)
    assert_same_run(ranks)
    assert len(ranks[0]["records"]) == 6
    assert any(record["clipped"] or record["skipped"] for record in ranks[0]["records"])
    assert ranks[0]["records"][SPIKE]["skipped"] == isinstance(strategy, SkipSpikes)


def test_two_processes_clip_like_one_with_the_batches_of_both(tmp_path):
    """The norm is that of the reduced gradient, so weights and norms are those of a single process."""

    class Half(Net):
        def training_step(self, batch, batch_idx):
            return super().training_step([part[self.global_rank :: 2] for part in batch], batch_idx)

    ranks = fit_in_two(Half(), [GradientClipping(NormClip(0.7))], tmp_path, use_distributed_sampler=False)
    module, alone = Net(), GradientClipping(NormClip(0.7))
    quiet_trainer(callbacks=[alone], max_epochs=1).fit(module, loader(rows=48))
    assert [r["norm_before"] for r in ranks[0]["records"]] == pytest.approx([r.norm_before for r in alone.history])
    for name, value in module.state_dict().items():
        torch.testing.assert_close(ranks[0]["weights"][name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cause", ["loss", "gradient"])
@pytest.mark.parametrize("view", [False, True], ids=["", "bucket view"])
def test_the_nan_of_one_rank_skips_the_step_on_both(cause, view, tmp_path):
    """The ranks agree first, so this works even for a NaN that only one rank can see."""
    guard, clipping = NonFiniteGuard("skip"), GradientClipping(NormClip(0.7))
    module = Spiking(factor=math.nan) if cause == "loss" else Net("adam")
    strategy = DDPStrategy(start_method="fork", process_group_backend="gloo", gradient_as_bucket_view=view)
    callbacks = [guard, clipping] if cause == "loss" else [OneRanksNan(), guard, clipping]
    ranks = fit_in_two(module, callbacks, tmp_path, strategy=strategy)
    assert_same_weights(ranks[0]["weights"], ranks[1]["weights"])
    for kept in ranks:
        assert all(value.isfinite().all() for value in kept["weights"].values())
        assert [record["skipped"] for record in kept["records"]] == [step == SPIKE for step in range(6)]
        assert [event["kind"] for event in kept["events"]] == ["non-finite"]
    told = ["net.0.weight" if cause == "loss" else "on another process", "net.0.weight"]
    assert [name in kept["events"][0]["message"] for name, kept in zip(told, ranks, strict=True)] == [True, True]


def test_a_switch_comes_at_the_same_step_on_both_ranks(tmp_path):
    """The switcher only uses norms of reduced gradients."""
    callbacks = [GradientClipping(NormClip(1e6)), StrategySwitcher([NormClip(0.5)])]
    ranks = fit_in_two(Spiking(factor=1e6), callbacks, tmp_path, max_epochs=10)
    assert_same_run(ranks)
    assert [event["kind"] for event in ranks[0]["events"]][:1] == ["switch"]


def test_both_ranks_find_the_same_threshold_and_lose_nothing(tmp_path):
    """One of them sees a spike while measuring; the run equals one that was given the threshold."""
    (tmp_path / "given").mkdir()
    found = fit_in_two(Spiking(), [GradientClipping(), ClipThresholdFinder(num_steps=6)], tmp_path)
    assert_same_run(found)
    threshold = found[0]["records"][0]["threshold"]
    given = fit_in_two(Spiking(), [GradientClipping(NormClip(threshold))], tmp_path / "given")
    assert threshold not in (1.0, None)
    assert_same_weights(found[0]["weights"], given[0]["weights"])


def test_records_and_reports_come_from_rank_zero_alone(tmp_path, capfd):
    """There is one file without duplicate lines, and one report."""
    sink = JsonlSink(tmp_path / "run.jsonl")
    ranks = fit_in_two(Net(), [GradientClipping(NormClip(0.7), sinks=[sink]), RichGradientReport()], tmp_path)
    assert [record.step for record in read_jsonl(tmp_path / "run.jsonl")[1]] == list(range(6))
    assert len(ranks[1]["records"]) == 6
    printed = capfd.readouterr().out
    assert printed.count("Gradient report: Net") == printed.count("SGD(") == 1


class Breaking(Net):
    """Raises on one rank."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.bad_rank = rank

    def on_train_batch_start(self, batch, batch_idx):
        if batch_idx == SPIKE and self.global_rank == self.bad_rank:
            raise RuntimeError("out of luck")


@pytest.mark.parametrize("rank", [0, 1])
def test_an_exception_in_a_worker_keeps_the_record_and_the_report(rank, tmp_path, capfd):
    """Lightning calls no `on_exception` in forked processes."""
    sink = JsonlSink(tmp_path / "run.jsonl")
    callbacks = [GradientClipping(NormClip(0.7), sinks=[sink]), RichGradientReport()]
    with pytest.raises(ProcessRaisedException):  # that of the rank, or what the other one sees of its end
        fit_in_two(Breaking(rank), callbacks, tmp_path)
    assert [record.step for record in read_jsonl(tmp_path / "run.jsonl")[1]][:SPIKE] == list(range(SPIKE))
    assert capfd.readouterr().out.count("Gradient report: Breaking") == 1
