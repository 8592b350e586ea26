"""Every strategy on parameters sharded over two processes."""

from collections.abc import Sequence
from functools import partial

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import Replicate, Shard

from lightning_clip import (
    AdaGC,
    Chain,
    CoordinateClip,
    Gradients,
    GroupNormClip,
    NormClip,
    PerParameterNormClip,
    RobustClip,
    Shadow,
    SkipAbove,
    SkipSpikes,
    SpikeClip,
    Tightest,
    ValueClip,
    ZClip,
    clip_,
)
from lightning_clip.functional.norms import local_values
from tests.contract.discovered import concrete_strategies
from tests.support.layout import Layout
from tests.support.ranks import on_two_ranks
from tests.support.scripted import parameters, scripted_steps, scripted_weights
from tests.support.values import assert_close

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this build of torch has no torch.distributed")

LINKED = {
    "Chain": lambda: Chain([ValueClip(0.5), NormClip(1.0)]),
    "Tightest": lambda: Tightest([NormClip(1.0), PerParameterNormClip(0.5), ValueClip(0.5)]),
    "Shadow": lambda: Shadow(NormClip(1.0), watched=[ZClip()]),
    "AdaGC": lambda: AdaGC(warmup_steps=5),
    "CoordinateClip": lambda: CoordinateClip(warmup_steps=5),
    "RobustClip": lambda: RobustClip(window=8),
    "SkipAbove": lambda: SkipAbove(1.0),
    "SkipSpikes": lambda: SkipSpikes(window=8, max_fraction=1.0),
    "SpikeClip": lambda: SpikeClip(warmup_steps=5),
    "ZClip": lambda: ZClip(warmup_steps=5),
    "GroupNormClip": lambda: GroupNormClip({"linear.*": 0.5, "*": 0.2}, kind="rms"),
}
PLACES = {
    "rows, one tensor in one place": {"linear.weight": Shard(0), "linear.bias": Shard(0), "conv.weight": Shard(0)},
    "columns and copies": {"linear.weight": Shard(1), "linear.bias": Replicate(), "conv.weight": Shard(2)},
}


class Run:
    """A strategy and an Adam optimizer that has made its first step."""

    def __init__(self, cls, place, first):
        weights = parameters(scripted_weights())
        self.params = {name: nn.Parameter(place(name, param.detach())) for name, param in weights.items()}
        self.adam = torch.optim.Adam(self.params.values(), foreach=False)
        self.place, self.strategy = place, LINKED.get(cls.__name__, cls)()
        self.set(first)
        self.adam.step()

    def set(self, grads):
        for name, param in self.params.items():
            param.grad = self.place(name, grads[name]) if name in grads else None

    def step(self, number, grads):
        self.set(grads)
        names, params = list(self.params), list(self.params.values())
        return clip_(Gradients(names, params, step=number, optimizer=self.adam), self.strategy)


def _every_strategy_clips_like_on_one_process(rank: int, chosen: Sequence[int]) -> None:
    every = [{n: torch.tensor(g) for n, g in step.items()} for step in scripted_steps(max(chosen) + 1)]
    steps = [every[number] for number in chosen]
    layouts = [Layout(rank, places) for places in PLACES.values()]
    for cls in concrete_strategies():
        one, parted = (
            Run(cls, lambda name, tensor: tensor.clone(), steps[0]),
            [Run(cls, it, steps[0]) for it in layouts],
        )
        acted = False
        for number, grads in enumerate(steps):
            expected = one.step(number, grads)
            acted |= bool(expected.skipped)
            acted |= any(p.grad is not None and not torch.equal(p.grad, grads[name]) for name, p in one.params.items())
            for layout, two in zip(layouts, parted, strict=True):
                event = two.step(number, grads)
                context = f"{cls.__name__}, step {number}, {layout.places}"
                assert_close(event.norm_before, expected.norm_before, context)
                assert_close(event.param_norms, expected.param_norms, context)
                for name, param in one.params.items():
                    left = two.params[name].grad
                    assert (left is None) == (param.grad is None), context
                    if left is not None:
                        assert_close(local_values(left), layout.part(name, param.grad), context, rtol=1e-9, atol=1e-12)
        assert acted or cls.__name__ in NEVER, f"{cls.__name__} never acted, so the check proves nothing"


# These do nothing with their defaults, or nothing within so few steps.
NEVER = {"Blend", "NoClip", "StrategySchedule"}


NEW = (*range(9), *range(29, 33), *range(58, 63))
"""The steps in which something is new: the beginning, a spike, a gradient of zero."""


@pytest.mark.parametrize("chosen", [NEW, pytest.param(range(65), marks=pytest.mark.slow)], ids=["new", "every step"])
def test_every_strategy_clips_like_on_one_process(chosen, tmp_path):
    """Norms, gradients and skips match over steps with spikes, uneven shards, replicas and an unsharded tensor."""
    on_two_ranks(partial(_every_strategy_clips_like_on_one_process, chosen=chosen), tmp_path)
