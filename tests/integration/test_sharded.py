"""Training with `ModelParallelStrategy` on two processes (FSDP2, tensor parallelism) equals training on one."""

import pytest
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from lightning_clip import (
    AGC,
    AdaGC,
    AutoClip,
    Chain,
    CoordinateClip,
    GradientClipping,
    GradientMonitor,
    NonFiniteGuard,
    NormClip,
    PerParameterNormClip,
    SkipSpikes,
    ValueClip,
)
from tests.support.layout import whole
from tests.support.processes import as_torchrun
from tests.support.training import Net, loader, quiet_trainer

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this build of torch has no torch.distributed")


class Sharded(Net):
    """Is sharded over the processes of a `ModelParallelStrategy`, and whole without one."""

    def __init__(self, kind: str = "sgd", **options: object) -> None:
        super().__init__(kind, **options)
        self.net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))

    def configure_model(self):
        if self.device_mesh is None or isinstance(self.net[0].weight, DTensor):
            return
        if self.device_mesh["tensor_parallel"].size() > 1:
            plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
            parallelize_module(self.net, self.device_mesh["tensor_parallel"], plan)
        else:
            for module in (self.net[0], self.net[2], self.net):
                fully_shard(module, mesh=self.device_mesh["data_parallel"])


def _fit(module, *callbacks, tensor_parallel=False, sharded=True, ckpt_path=None, **options):
    sizes = (1, 2) if tensor_parallel else (2, 1)
    if sharded:
        strategy = ModelParallelStrategy(data_parallel_size=sizes[0], tensor_parallel_size=sizes[1])
        options = {**options, "devices": 2, "strategy": strategy, "use_distributed_sampler": False}
    trainer = quiet_trainer(callbacks=list(callbacks), **options)
    trainer.fit(module, loader(), ckpt_path=ckpt_path, weights_only=True)
    return trainer


def _strategies():
    return [
        NormClip(0.7),
        AGC(0.05),
        Chain([ValueClip(0.5), PerParameterNormClip(0.4)]),
        SkipSpikes(2.0, window=4, max_fraction=1.0),
    ]


@pytest.mark.parametrize("tensor_parallel", [False, True], ids=["FSDP2", "tensor parallel"])
def test_training_equals_that_on_one_process(tensor_parallel):
    """Norms, skips and weights are the same, with a monitor and a guard active."""
    expected = []
    for strategy in _strategies():
        module, clipping = Sharded("adam"), GradientClipping(strategy)
        quiet_trainer(callbacks=[clipping]).fit(module, loader())
        expected.append((list(clipping.history), list(module.parameters())))

    def check(rank):
        for strategy, (records, weights) in zip(_strategies(), expected, strict=True):
            module, clipping = Sharded("adam", foreach=False), GradientClipping(strategy)
            _fit(module, GradientMonitor(), clipping, NonFiniteGuard("raise"), tensor_parallel=tensor_parallel)
            assert isinstance(module.net[0].weight, DTensor)
            for ours, theirs in zip(clipping.history, records, strict=True):
                assert ours.norm_before == pytest.approx(theirs.norm_before, rel=1e-4)
                assert ours.norm_after == pytest.approx(theirs.norm_after, rel=1e-4)
                assert ours.skipped == theirs.skipped
            for ours, theirs in zip(module.parameters(), weights, strict=True):
                torch.testing.assert_close(whole(ours.detach()), theirs.detach(), rtol=1e-3, atol=1e-4)
        assert sum(record.skipped for record in clipping.history) > 0

    as_torchrun(check)


def test_resuming_a_sharded_run_equals_not_stopping(tmp_path):
    """A run resumed from a distributed checkpoint has the weights and history of an uninterrupted one."""

    def check(rank):
        for strategy in (AutoClip(50), AdaGC(warmup_steps=3)):
            directory = tmp_path / strategy.label
            straight, clipping = Sharded(foreach=False), GradientClipping(strategy)
            _fit(straight, clipping, max_epochs=3)
            _fit(Sharded(foreach=False), GradientClipping(strategy), max_epochs=1).save_checkpoint(directory)
            resumed, restored = Sharded(foreach=False), GradientClipping(strategy)
            _fit(resumed, restored, max_epochs=3, ckpt_path=directory)
            assert list(restored.history) == list(clipping.history)
            for ours, theirs in zip(resumed.parameters(), straight.parameters(), strict=True):
                assert torch.equal(ours.detach().to_local(), theirs.detach().to_local())

    as_torchrun(check)


def test_a_per_element_history_starts_again_with_a_warning(tmp_path):
    """A checkpoint does not contain the history of shards: nothing is clipped until it has warmed up again."""

    def check(rank):
        strategy = CoordinateClip(warmup_steps=3)
        first = GradientClipping(strategy)
        _fit(Sharded(foreach=False), first, max_epochs=1).save_checkpoint(tmp_path / "half")
        assert any(record.clipped for record in first.history)
        restored = GradientClipping(strategy)
        if rank == 0:
            with pytest.warns(
                UserWarning, match=r"CoordinateClip\(.*no per-element history .*net\.0\.weight.*warmed up again"
            ):
                _fit(Sharded(foreach=False), restored, max_epochs=2, ckpt_path=tmp_path / "half")
        else:
            _fit(Sharded(foreach=False), restored, max_epochs=2, ckpt_path=tmp_path / "half")
        assert not any(record.clipped for record in list(restored.history)[6:9])

    as_torchrun(check)
