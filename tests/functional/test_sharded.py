import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor

from lightning_clip.functional import tensor_norms, total_norm, unit_norms
from lightning_clip.functional.norms import local_values
from lightning_clip.functional.sharded import is_sharded, reduce_powers, reduce_units, sharding_of
from tests.support.ranks import on_two_ranks

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this build of torch has no torch.distributed")

SHAPES = [(5, 4), (1, 3), (7,), (4, 2, 2)]


def _whole() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def _norms_are_those_of_whole_tensors(rank: int) -> None:
    mesh = init_device_mesh("cpu", (2,))
    plain = _whole()
    for placement in (Shard(0), Replicate()):
        sharded = [distribute_tensor(tensor, mesh, [placement]) for tensor in plain]
        for p in (1.0, 2.0, 3.0, float("inf")):
            expected = tensor_norms(plain, p)
            torch.testing.assert_close(tensor_norms(sharded, p), expected)
            torch.testing.assert_close(tensor_norms([sharded[0], *plain[1:]], p), expected)
            torch.testing.assert_close(total_norm(sharded, p), total_norm(plain, p))
    rows = local_values(distribute_tensor(plain[1], mesh, [Shard(0)])).shape[0]
    assert rows == 1 - rank, "one shard has to be empty, or the check does not cover it"


def _units_split_over_ranks_are_put_together(rank: int) -> None:
    mesh = init_device_mesh("cpu", (2,))
    plain = _whole()[0]
    for placement in (Shard(0), Shard(1), Replicate()):
        sharded = distribute_tensor(plain, mesh, [placement])
        for dims in ((0,), (1,), ()):
            expected = unit_norms(plain, dims)
            norms = unit_norms(sharded, dims)
            own = placement.is_shard() and dims != () and placement.dim not in dims
            torch.testing.assert_close(norms, expected.chunk(2, placement.dim)[rank] if own else expected)
            assert (norms * local_values(sharded)).shape == local_values(sharded).shape


def _an_unreduced_sum_is_refused(rank: int) -> None:
    mesh = init_device_mesh("cpu", (2,))
    partial = DTensor.from_local(torch.ones(3, 2), mesh, [Partial()])
    for measure in (lambda: tensor_norms([partial]), lambda: unit_norms(partial, (1,))):
        with pytest.raises(ValueError, match=r"Partial.*; reduce it before clipping"):
            measure()


def _a_mesh_of_two_dimensions_is_reduced_over_those_that_split(rank: int) -> None:
    mesh = init_device_mesh("cpu", (1, 2))
    plain = _whole()[0]
    sharded = distribute_tensor(plain, mesh, [Replicate(), Shard(1)])
    torch.testing.assert_close(tensor_norms([sharded]), tensor_norms([plain]))
    torch.testing.assert_close(unit_norms(sharded, (1,)), unit_norms(plain, (1,)))
    assert sharding_of(sharded) == (mesh, (Replicate(), Shard(1)))


@pytest.mark.parametrize(
    "check",
    [
        _norms_are_those_of_whole_tensors,
        _units_split_over_ranks_are_put_together,
        _an_unreduced_sum_is_refused,
        _a_mesh_of_two_dimensions_is_reduced_over_those_that_split,
    ],
    ids=lambda check: check.__name__.strip("_"),
)
def test_on_two_ranks(check, tmp_path):
    """Each check holds on both of two processes, with uneven and empty shards."""
    on_two_ranks(check, tmp_path)


def test_plain_tensors_need_no_processes():
    """Plain tensors are not sharded and pass through both reductions unchanged."""
    plain = torch.ones(3)
    assert not is_sharded(plain)
    assert sharding_of(plain) is None
    assert reduce_powers([plain], [None], 2.0)[0] is plain
    assert reduce_units(plain, None, (0,)) is plain
