"""Norms of gradients sharded over two processes (FSDP2, tensor and sequence parallelism)."""

import math

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)

from lightning_clip import AGC, CoordinateClip, Gradients, NormClip, clip_
from lightning_clip.core.names import parameter_names
from lightning_clip.functional import tensor_norms
from tests.support.layout import Layout, whole
from tests.support.ranks import on_two_ranks

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this build of torch has no torch.distributed")

PS = (1.0, 2.0, 3.0, math.inf)


def _norms_are_those_of_whole_gradients(rank: int) -> None:
    torch.manual_seed(0)
    mesh = init_device_mesh("cpu", (2,))

    def all_sharded():
        net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))  # one row: an empty shard on rank 1
        for layer in (net[0], net[2], net):
            fully_shard(layer, mesh=mesh)
        return net

    def some_sharded():
        net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
        fully_shard(net[0], mesh=mesh)
        return net

    def tensor_parallel():
        net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2), nn.Linear(2, 1))
        return parallelize_module(net, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})

    for make in (all_sharded, some_sharded, tensor_parallel):
        torch.manual_seed(0)
        net = make()
        net(torch.randn(3, 4)).pow(2).sum().backward()
        gradients = [whole(param.grad) for param in net.parameters()]
        for p in PS:
            grads = Gradients.of_module(net)
            expected = torch.stack([g.norm(p) for g in gradients])
            torch.testing.assert_close(grads.norms(p), expected, rtol=1e-5, atol=0)
            total = torch.cat([g.flatten() for g in gradients]).norm(p)
            torch.testing.assert_close(grads.total_norm(p), total, rtol=1e-5, atol=0)
            assert not isinstance(grads.total_norm(p), DTensor)


def _norms_that_overflow_float32_are_measured(rank: int) -> None:
    layout = Layout(rank, {"a": Shard(0), "b": Shard(0)})
    one_each = layout("a", torch.full((2,), 1.5e19))  # their squares fit into float32, the sum of them does not
    assert float(tensor_norms([one_each])[0]) == pytest.approx(1.5e19 * math.sqrt(2), rel=1e-6)
    params = {name: nn.Parameter(layout(name, torch.zeros(rows))) for name, rows in {"a": 4, "b": 1}.items()}
    for name, param in params.items():
        param.grad = layout(name, torch.full(param.shape, 1e30))
    grads = Gradients(list(params), list(params.values()))
    assert grads.is_finite()
    assert float(grads.total_norm()) == pytest.approx(math.sqrt(5) * 1e30, rel=1e-6)
    clip_(grads, NormClip(1.0))
    assert float(grads.remeasured().total_norm()) == pytest.approx(1.0, rel=1e-5)


def _a_rank_with_its_own_nan_does_not_wait(rank: int) -> None:
    layout = Layout(rank, {"a": Shard(0)})
    params = {name: nn.Parameter(layout(name, torch.zeros(4))) for name in ("a", "own")}
    for name, param in params.items():
        param.grad = layout(name, torch.ones(4))
    if rank == 1:
        params["own"].grad[0] = math.nan
    grads = Gradients(list(params), list(params.values()))
    assert grads.is_finite() == (rank == 0)
    assert grads.remeasured().norms()[0] == 2.0


class Sequence(nn.Module):
    """A network for sequence parallelism as in torch's tutorials, which leaves some gradient sums pending."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.norm = nn.Embedding(8, 4), nn.LayerNorm(4)
        self.up, self.down, self.out = nn.Linear(4, 6), nn.Linear(6, 4), nn.Linear(4, 8)

    def forward(self, tokens):
        return self.out(self.down(torch.relu(self.up(self.norm(self.embedding(tokens))))))


def _sequence_parallel(net: nn.Module, mesh) -> None:
    parallelize_module(
        net,
        mesh,
        {
            "embedding": RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(1)),
            "norm": SequenceParallel(),
            "up": PrepareModuleInput(input_layouts=(Shard(1),), desired_input_layouts=(Replicate(),)),
        },
    )
    plan = {"up": ColwiseParallel(), "down": RowwiseParallel(), "out": ColwiseParallel(output_layouts=Replicate())}
    parallelize_module(net, mesh, plan)


def _pending_sums_are_finished(rank: int) -> None:
    mesh = init_device_mesh("cpu", (2,))
    for make in (lambda: NormClip(0.5), lambda: AGC(0.05), lambda: CoordinateClip(warmup_steps=1)):
        runs = []
        for parallel in (False, True):
            torch.manual_seed(0)
            net, strategy = Sequence(), make()
            if parallel:
                _sequence_parallel(net, mesh)
            adam = torch.optim.Adam(net.parameters(), lr=0.05, foreach=False)
            totals = []
            for step in range(4):
                adam.zero_grad()
                net(torch.arange(8).roll(step).view(2, 4)).pow(2).sum().backward()
                if parallel and step == 0:
                    assert net.norm.weight.grad.placements[0].is_partial(), "otherwise the check proves nothing"
                grads = Gradients.of_optimizer(adam, parameter_names(net), step=step)
                totals.append(clip_(grads, strategy).norm_before)
                adam.step()
            runs.append([whole(param.detach()) for param in net.parameters()] + totals)
        torch.testing.assert_close(runs[1], runs[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "check",
    [
        _norms_are_those_of_whole_gradients,
        _norms_that_overflow_float32_are_measured,
        _a_rank_with_its_own_nan_does_not_wait,
        _pending_sums_are_finished,
    ],
    ids=lambda check: check.__name__.strip("_"),
)
def test_on_two_ranks(check, tmp_path):
    """Each check holds on both of two processes."""
    on_two_ranks(check, tmp_path)
