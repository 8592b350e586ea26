import io

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from lightning_clip import (
    AdaGC,
    AdaptiveMaxClip,
    CoordinateClip,
    Gradients,
    GrowthLimitClip,
    SpikeClip,
    UpdateRMSClip,
    clip_,
)
from tests.support.ranks import on_two_ranks

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this build of torch has no torch.distributed")

SHAPES = {"a.weight": (5, 4), "a.bias": (5,), "b.weight": (1, 3)}
STRATEGIES = {
    "AdaGC": lambda: AdaGC(warmup_steps=3),
    "GrowthLimitClip": GrowthLimitClip,
    "GrowthLimitClip, global": lambda: GrowthLimitClip(per="global"),
    "UpdateRMSClip": lambda: UpdateRMSClip(0.9),
    "AdaptiveMaxClip": AdaptiveMaxClip,
    "CoordinateClip": lambda: CoordinateClip(warmup_steps=3),
    "SpikeClip": lambda: SpikeClip(4.0, warmup_steps=3),
    "SpikeClip, optimizer": lambda: SpikeClip(4.0, warmup_steps=3, source="optimizer"),
}


class Run:
    """One strategy beside one Adam, on parameters that may be sharded."""

    def __init__(self, strategy, place=lambda tensor: tensor):
        generator = torch.Generator().manual_seed(0)
        self.params = {n: nn.Parameter(place(torch.randn(s, generator=generator))) for n, s in SHAPES.items()}
        self.adam = torch.optim.Adam(self.params.values(), foreach=False)
        self.strategy = strategy
        self.place = place

    def step(self, number: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(1 + number)
        for param in self.params.values():
            param.grad = self.place((1 + number % 3) * torch.randn(param.shape, generator=generator))
        names, params = list(self.params), list(self.params.values())
        clip_(Gradients(names, params, step=number, optimizer=self.adam), self.strategy)
        left = {name: param.grad for name, param in self.params.items()}
        self.adam.step()
        return left


def _history_of_shards_is_that_of_whole_tensors(rank: int) -> None:
    mesh = init_device_mesh("cpu", (2,))
    for name, make in STRATEGIES.items():
        whole, sharded = Run(make()), Run(make(), lambda tensor: distribute_tensor(tensor, mesh, [Shard(0)]))
        changed = False
        for number in range(12):
            before = (1 + number % 3) * torch.randn(
                SHAPES["a.weight"], generator=torch.Generator().manual_seed(1 + number)
            )
            expected, left = whole.step(number), sharded.step(number)
            changed |= not torch.equal(expected["a.weight"], before)
            for key, value in expected.items():
                torch.testing.assert_close(left[key].full_tensor(), value, msg=f"{name}, step {number}, {key}")
        assert changed, f"{name} never acted, so the check says nothing"


def _a_checkpoint_leaves_element_histories_of_shards_out(rank: int) -> None:
    mesh = init_device_mesh("cpu", (2,))
    run = Run(SpikeClip(warmup_steps=1), lambda tensor: distribute_tensor(tensor, mesh, [Shard(0)]))
    for number in range(3):
        run.step(number)
    file = io.BytesIO()
    torch.save(run.strategy.state_dict(), file)
    file.seek(0)
    restored = SpikeClip(warmup_steps=1)
    restored.load_state_dict(torch.load(file, weights_only=True))
    assert run.strategy.magnitudes.means.values
    assert not restored.magnitudes.means.values
    run.strategy = restored
    left = run.step(3)["a.weight"].full_tensor()
    torch.testing.assert_close(left, torch.randn(SHAPES["a.weight"], generator=torch.Generator().manual_seed(4)))


@pytest.mark.parametrize(
    "check",
    [_history_of_shards_is_that_of_whole_tensors, _a_checkpoint_leaves_element_histories_of_shards_out],
    ids=lambda check: check.__name__.strip("_"),
)
def test_on_two_ranks(check, tmp_path):
    """Each check holds on both of two processes, with uneven and empty shards."""
    on_two_ranks(check, tmp_path)
