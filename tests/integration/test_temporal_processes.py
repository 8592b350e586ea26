"""`TemporalGradientMonitor` with several processes."""

import pytest
import torch
import torch.distributed as dist
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from lightning_clip import GradientMonitor, JsonlSink, TemporalGradientMonitor, read_jsonl
from lightning_clip.callbacks.monitors._layer_lookup import find_targets
from tests.support.ranks import on_two_ranks
from tests.support.recurrent import Recurrent, sequences
from tests.support.training import assert_same_weights, quiet_trainer, weights_of

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this build of torch has no torch.distributed")


class Keep(Callback):
    """Saves, per process, the weights, the steps of the profiles and whether the metric exists."""

    def __init__(self, directory):
        self.directory = directory

    def on_train_end(self, trainer, pl_module):
        monitor = next((one for one in trainer.callbacks if isinstance(one, TemporalGradientMonitor)), None)
        steps = [profile.step for profile in monitor.profiles] if monitor else []
        kept = (weights_of(pl_module), steps, "rnn/growth_rate" in trainer.callback_metrics)
        torch.save(kept, self.directory / f"{trainer.global_rank}.pt")


def fit_in_two(directory, *callbacks):
    trainer = quiet_trainer(devices=2, strategy="ddp_fork", max_epochs=1, callbacks=[*callbacks, Keep(directory)])
    trainer.fit(Recurrent(), sequences(48))
    return [torch.load(directory / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_rank_zero_measures_and_the_weights_are_unchanged(tmp_path):
    """Both processes end with the weights of a run without the monitor; only rank zero has the profiles."""
    plain = fit_in_two(tmp_path)
    sink = JsonlSink(tmp_path / "run.jsonl")
    watched = fit_in_two(tmp_path, TemporalGradientMonitor(every_n_steps=3), GradientMonitor(sinks=[sink]))
    for rank in (0, 1):
        assert_same_weights(watched[rank][0], plain[rank][0])
    assert [kept[1:] for kept in watched] == [([0, 3], True), ([], False)]
    assert [one.step for one in read_jsonl(sink.path)[1].measurements.of("temporal-gradient")] == [0, 3]


def _a_sharded_layer_is_rejected(rank: int) -> None:
    layer = nn.RNN(4, 6)
    sharded = distribute_tensor(layer.weight_hh_l0.detach(), init_device_mesh("cpu", (2,)), [Shard(0)])
    layer.weight_hh_l0 = nn.Parameter(sharded)
    with pytest.raises(MisconfigurationException, match=r"'0' \(RNN\) has sharded weights.*out of fully_shard"):
        find_targets("TemporalGradientMonitor", nn.Sequential(layer), None)


def test_a_sharded_layer_is_rejected(tmp_path):
    """No process has all of its weights, and measuring must not wait for the others."""
    on_two_ranks(_a_sharded_layer_is_rejected, tmp_path)
