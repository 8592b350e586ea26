"""Sharded tensors (FSDP2, tensor parallelism): their layout, their parts, and norms reduced over ranks."""

import math
import sys
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lightning_clip._errors import ArgumentError

Sharding = tuple[Any, tuple[Any, ...]]


def is_sharded(tensor: Tensor) -> bool:
    """Whether the tensor is a `DTensor`, sharded or replicated over a mesh of processes."""
    module = sys.modules.get("torch.distributed.tensor")  # takes 0.5 s to import; without it there are no DTensors
    return module is not None and isinstance(tensor, module.DTensor)


def sharding_of(tensor: Tensor) -> Sharding | None:
    """The mesh and placements of a sharded tensor; `None` for a plain one."""
    return (tensor.device_mesh, tuple(tensor.placements)) if is_sharded(tensor) else None  # type: ignore[attr-defined]


def laid_out_like(tensor: Tensor, other: Tensor) -> Tensor:
    """A sharded tensor with the placements of another one, for instance a gradient with those of its parameter.

    Sequence parallelism leaves the gradient of a replicated parameter as a pending sum, and that of a sharded embedding
    whole on every rank.

    Args:
        tensor: Any tensor.
        other: A tensor of the same shape on the same mesh.

    Returns:
        The redistributed tensor, or `tensor` itself if its placements already match or either tensor is plain.
    """
    here, there = sharding_of(tensor), sharding_of(other)
    if here is None or there is None or here == there:
        return tensor
    result: Tensor = tensor.redistribute(placements=there[1])  # type: ignore[attr-defined]
    return result


def whole_of(tensor: Tensor) -> Tensor:
    """Gather a sharded tensor on every process; return a plain one unchanged.

    Args:
        tensor: Any tensor.

    Returns:
        A plain tensor of the whole shape.
    """
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def part_of(whole: Tensor, like: Tensor) -> Tensor:
    """The part of a whole tensor that belongs to this process, by the layout of another tensor.

    Args:
        whole: A plain tensor, the same on every process.
        like: A sharded tensor of its shape, or a plain one.

    Returns:
        The part that `like` has on this process, without communication; all of `whole` if `like` is plain.
    """
    sharding = sharding_of(like)
    if sharding is None:
        return whole
    from torch.distributed.tensor import DTensor, Replicate

    mesh, placements = sharding
    copies: Any = DTensor.from_local(whole, mesh, [Replicate()] * len(placements), run_check=False)
    part: Tensor = copies.redistribute(placements=placements).to_local()
    return part


def reduce_powers(norms: list[Tensor], shardings: Sequence[Sharding | None], norm_type: float) -> list[Tensor]:
    """Turn the norms of local shards into norms of whole tensors: one all-reduce per mesh dimension and layout.

    Args:
        norms: `n` local norms, each `()`.
        shardings: `sharding_of` each tensor, in the same order.
        norm_type: p of the p-norm.

    Returns:
        `n` norms, each `()`; those of plain and replicated tensors are unchanged.

    Raises:
        ArgumentError: A tensor is `Partial`: it is a pending sum and has no norm yet.
    """
    result = list(norms)
    for sharding in dict.fromkeys(s for s in shardings if s is not None):
        mesh, placements = sharding
        _check_reduced(placements)
        members = [i for i, s in enumerate(shardings) if s == sharding]
        local = torch.stack([norms[i].double() for i in members])  # the squares of float32 norms can overflow
        powers = local if math.isinf(norm_type) else local.pow(norm_type)
        op = dist.ReduceOp.MAX if math.isinf(norm_type) else dist.ReduceOp.SUM
        for dim, place in enumerate(placements):
            if place.is_shard():
                dist.all_reduce(powers, op=op, group=mesh.get_group(dim))
        whole = powers if math.isinf(norm_type) else powers.pow(1.0 / norm_type)
        for i, norm in zip(members, whole.unbind(), strict=True):
            result[i] = norm.to(norms[i].dtype)
    return result


def reduce_units(norms: Tensor, sharding: Sharding | None, dims: tuple[int, ...], norm_type: float = 2.0) -> Tensor:
    """Turn the norms of local pieces of units into those of whole units; no communication if no unit is split.

    Args:
        norms: Local norms, any shape.
        sharding: `sharding_of` the tensor that they were measured on.
        dims: The dimensions that make up one unit.
        norm_type: p of the p-norm.

    Returns:
        The norms, of the same shape.

    Raises:
        ArgumentError: The tensor is `Partial`: it is a pending sum and has no norm yet.
    """
    if sharding is None:
        return norms
    mesh, placements = sharding
    _check_reduced(placements)
    splitting = [i for i, place in enumerate(placements) if place.is_shard() and place.dim in dims]
    if not splitting:
        return norms
    is_max = math.isinf(norm_type)
    powers = norms.double() if is_max else norms.double().pow(norm_type)
    for mesh_dim in splitting:
        dist.all_reduce(powers, op=dist.ReduceOp.MAX if is_max else dist.ReduceOp.SUM, group=mesh.get_group(mesh_dim))
    return (powers if is_max else powers.pow(1 / norm_type)).to(norms.dtype)


def _check_reduced(placements: tuple[Any, ...]) -> None:
    if any(place.is_partial() for place in placements):
        raise ArgumentError(
            f"tensor_norms(…): a gradient placed {placements} is a pending sum; reduce it before clipping."
        )
