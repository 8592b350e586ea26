"""`DivergenceRollback` with `ModelParallelStrategy` on two processes (FSDP2)."""

import math

import pytest
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from lightning_clip import DivergenceRollback
from tests.support.layout import whole
from tests.support.processes import as_torchrun
from tests.support.training import Net, loader, quiet_trainer

pytestmark = [
    pytest.mark.skipif(not dist.is_available(), reason="this build of torch has no torch.distributed"),
    pytest.mark.filterwarnings("ignore:DivergenceRollback. step"),
]


class Sharded(Net):
    """Is sharded over two processes; the loss is NaN at the given steps."""

    def __init__(self, bad_steps) -> None:
        super().__init__("adam", foreach=False)
        self.bad_steps = bad_steps
        self.net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))

    def configure_model(self):
        if not isinstance(self.net[0].weight, DTensor):
            for module in (self.net[0], self.net[2], self.net):
                fully_shard(module, mesh=self.device_mesh["data_parallel"])

    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) * (math.nan if self.global_step in self.bad_steps else 1.0)


def fit(module, rollback, **options):
    strategy = ModelParallelStrategy(2, 1, save_distributed_checkpoint=False)
    options = {**options, "devices": 2, "strategy": strategy, "use_distributed_sampler": False}
    trainer = quiet_trainer(callbacks=[rollback], **options)
    trainer.fit(module, loader())
    return trainer


def test_sharded_weights_are_rolled_back():
    """All processes restore their parts at the same step."""

    def check(rank):
        module, rollback = Sharded(range(4, 7)), DivergenceRollback(snapshot_every_n_steps=2)
        fit(module, rollback)
        assert rollback.restores == 1
        assert all(whole(param.detach()).isfinite().all() for param in module.parameters())

    as_torchrun(check)


def test_a_checkpoint_of_sharded_weights_is_whole(tmp_path):
    """While the weights are NaN, the checkpoint holds the complete tensors of the last good state."""
    path = tmp_path / "saved.ckpt"

    def check(rank):
        module = Sharded(range(4, 6))
        trainer = fit(module, DivergenceRollback(snapshot_every_n_steps=2), max_epochs=1)
        trainer.save_checkpoint(path)
        assert all(whole(param.detach()).isnan().all() for param in module.parameters())

    as_torchrun(check)
    saved = torch.load(path, weights_only=True)
    assert saved["state_dict"]["net.0.weight"].shape == (4, 4)
    assert all(type(v) is torch.Tensor and v.isfinite().all() for v in saved["state_dict"].values())
    moment = saved["optimizer_states"][0]["state"][0]["exp_avg"]
    assert moment.shape == (4, 4)
    assert moment.isfinite().all()
