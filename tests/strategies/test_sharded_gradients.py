import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from lightning_clip import (
    AGC,
    ClipStrategy,
    Gradients,
    GroupNormClip,
    NormalizeGradient,
    NormClip,
    PerParameterNormClip,
    PerParameterRatioClip,
    SoftClip,
    SpectralClip,
    ValueClip,
    clip_,
)
from tests.support.ranks import on_two_ranks

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this build of torch has no torch.distributed")

SHAPES = {"a.weight": (5, 4), "a.bias": (5,), "b.weight": (1, 3), "c.weight": (4, 2, 2)}
STRATEGIES: list[ClipStrategy] = [
    NormClip(0.5),
    ValueClip(0.1),
    PerParameterNormClip(0.3),
    GroupNormClip({"a.*": 0.5, "*": 0.2}, kind="rms"),
    AGC(0.05),
    AGC(0.05, unit_axes={"a.weight": (0,), "c.weight": ()}),
    PerParameterRatioClip(),
    SoftClip(0.5),
    NormalizeGradient(0.5, per="parameter"),
    SpectralClip(0.5),
]


def _parameters(place=lambda tensor: tensor) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    params = {}
    for name, shape in SHAPES.items():
        params[name] = nn.Parameter(place(torch.randn(shape, generator=generator)))
        params[name].grad = place(torch.randn(shape, generator=generator))
    return params


def _sharded_gradients_are_clipped_like_whole_ones(rank: int) -> None:
    mesh = init_device_mesh("cpu", (2,))
    for strategy in STRATEGIES:
        for dim in (0, -1):
            whole = _parameters()
            sharded = _parameters(lambda tensor, dim=dim: distribute_tensor(tensor, mesh, [Shard(dim % tensor.ndim)]))
            for params in (whole, sharded):
                clip_(Gradients(list(params), list(params.values())), strategy)
            for name, param in whole.items():
                torch.testing.assert_close(sharded[name].grad.full_tensor(), param.grad, msg=f"{strategy}: {name}")


def test_sharded_gradients_are_clipped_like_whole_ones(tmp_path):
    """Each of two processes holds its part of the single-process result, with uneven and empty shards."""
    on_two_ranks(_sharded_gradients_are_clipped_like_whole_ones, tmp_path)
