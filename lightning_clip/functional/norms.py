"""Gradient norms per tensor, per unit and in total, for dense, sparse, sharded and half-precision tensors."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_clip.functional.alike import norms_of_alike
from lightning_clip.functional.blocks import Block, blocks_of, joined
from lightning_clip.functional.sharded import is_sharded, reduce_powers, reduce_units, sharding_of


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is dense and held whole by this process, as most gradients are.

    Args:
        tensor: Any tensor.
    """
    return tensor.layout is torch.strided and (type(tensor) is Tensor or not is_sharded(tensor))


def local_values(tensor: Tensor) -> Tensor:
    """The elements of a gradient that live on this process, as one plain dense tensor.

    Args:
        tensor: A dense, sparse COO or sharded (`DTensor`) tensor of any shape.

    Returns:
        The tensor itself, the values of a coalesced sparse tensor, or the local shard.
    """
    if is_sharded(tensor):
        return tensor.to_local()  # type: ignore[attr-defined, no-any-return]
    if tensor.layout is not torch.strided:
        return tensor.coalesce().values()
    return tensor


def tensor_norms(
    tensors: Sequence[Tensor], norm_type: float = 2.0, *, dtype: torch.dtype | None = None, are_plain: bool = False
) -> Tensor:
    """The norm of each tensor, accumulated in float32 or better.

    Half-precision gradients are accumulated in float32: 1,000 elements of 3,000 have a norm of 94,868, which would be
    infinite in float16. A sharded tensor gives the norm of the whole tensor, the same on every rank. An empty tensor
    gives 0.

    Args:
        tensors: `n` tensors of any shape, on one or more devices.
        norm_type: p of the p-norm, greater than 0; `inf` for the largest absolute element.
        dtype: A wider type to accumulate in, for instance `torch.float64` for gradients whose squares overflow.
        are_plain: Whether the caller knows that all tensors are plain; see `is_plain`.

    Returns:
        The norms, `(n,)`, on the device of the first tensor.

    Example:
        >>> tensor_norms([torch.tensor([3.0, 4.0]), torch.tensor([-2.0])])
        tensor([5., 2.])
        >>> tensor_norms([torch.tensor([3.0, 4.0]), torch.tensor([-2.0])], norm_type=float("inf"))
        tensor([4., 2.])
    """
    if not tensors:
        return torch.zeros(0, dtype=dtype or torch.float32)
    first = tensors[0]
    if (are_plain or _are_plain(tensors)) and _are_together(tensors):
        alike = norms_of_alike(tensors) if norm_type == 2 and dtype in (None, first.dtype) else None
        return _norms_of_plain(tensors, norm_type, dtype) if alike is None else alike
    norms = _norms_of_mixed([local_values(t) for t in tensors], norm_type, dtype)
    norms = reduce_powers(norms, [sharding_of(t) for t in tensors], norm_type)
    return torch.stack([norm.to(first.device) for norm in norms])


def combine_norms(norms: Tensor, norm_type: float = 2.0) -> Tensor:
    """The norm of the concatenation of several tensors, computed from their norms.

    Args:
        norms: `(n,)`, from `tensor_norms` with the same `norm_type`.
        norm_type: p of the p-norm.

    Returns:
        The total norm, `()`; 0 for `n = 0`.

    Example:
        >>> combine_norms(torch.tensor([3.0, 4.0]))
        tensor(5.)
    """
    if norms.numel() == 0:
        return norms.sum()
    total: Tensor = torch.linalg.vector_norm(norms, norm_type)
    return total


def total_norm(tensors: Sequence[Tensor], norm_type: float = 2.0) -> Tensor:
    """The norm of all tensors taken as one long vector.

    Args:
        tensors: Tensors of any shape.
        norm_type: p of the p-norm.

    Returns:
        The total norm, `()`.

    Example:
        >>> total_norm([torch.tensor([1.0, 2.0]), torch.tensor([[2.0]])])
        tensor(3.)
    """
    return combine_norms(tensor_norms(tensors, norm_type), norm_type)


def unit_norms(
    tensor: Tensor, dims: tuple[int, ...], *, norm_type: float = 2.0, dtype: torch.dtype | None = None
) -> Tensor:
    """The norm of each unit (a row of a weight matrix, a filter), accumulated in float32 or better.

    Args:
        tensor: Any shape. For a sharded tensor, only units that this process holds a piece of are measured.
        dims: The dimensions that make up one unit and are reduced, counted from the front. An empty tuple makes the
            whole tensor one unit.
        norm_type: p of the p-norm, greater than 0; `inf` for the largest absolute element.
        dtype: A wider type to accumulate in.

    Returns:
        The norms. Reduced dimensions are kept with size 1, so the result broadcasts to the shape of `tensor` (of its
        local shard, if sharded).

    Example:
        >>> unit_norms(torch.tensor([[3.0, 4.0], [0.0, 2.0]]), dims=(1,))
        tensor([[5.],
                [2.]])
    """
    dims = dims or tuple(range(tensor.ndim))
    dtype = torch.promote_types(tensor.dtype, dtype or torch.float32)
    norms = torch.linalg.vector_norm(local_values(tensor), norm_type, dims, keepdim=True, dtype=dtype)
    return reduce_units(norms, sharding_of(tensor), dims, norm_type)


def _are_plain(tensors: Sequence[Tensor]) -> bool:
    return is_plain(tensors[0]) and len({(type(tensor), tensor.layout) for tensor in tensors}) == 1


def _are_together(tensors: Sequence[Tensor]) -> bool:
    """Whether all tensors have the same dtype and are on the same device; a tuple for each would take twice as long."""
    if len({tensor.dtype for tensor in tensors}) > 1:
        return False
    return {tensor.is_cpu for tensor in tensors} == {True} or len({tensor.device for tensor in tensors}) == 1


def _norms_of_mixed(tensors: Sequence[Tensor], norm_type: float, dtype: torch.dtype | None) -> list[Tensor]:
    """The norms of plain tensors of several types or on several devices, with one pass per type and device."""
    groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for i, tensor in enumerate(tensors):
        groups.setdefault((tensor.device, tensor.dtype), []).append(i)
    norms: dict[int, Tensor] = {}
    for members in groups.values():
        own = _norms_of_plain([tensors[i] for i in members], norm_type, dtype)
        norms.update(zip(members, own.unbind(), strict=True))
    return [norms[i] for i in range(len(tensors))]


def _norms_of_plain(tensors: Sequence[Tensor], norm_type: float, dtype: torch.dtype | None) -> Tensor:
    """The norms `(n,)` of plain tensors of one dtype on one device."""
    given = tensors[0].dtype
    if dtype is not None or given is not torch.float32:  # torch requires complex to stay complex
        given = torch.promote_types(given, dtype or torch.float32)
    if math.isinf(norm_type) and tensors[0].is_cpu and not given.is_complex:
        return _largest(tensors).to(given)
    if math.isinf(norm_type) and any(t.numel() == 0 for t in tensors):  # torch has no maximum of an empty tensor
        tensors = [t if t.numel() else t.new_zeros(1) for t in tensors]
    return torch.stack(torch._foreach_norm(list(tensors), norm_type, dtype=given))


def _largest(tensors: Sequence[Tensor]) -> Tensor:
    """The largest absolute elements; 20 times as fast as torch's infinity norm, which is not vectorized on the CPU."""
    if torch.compiler.is_compiling():  # a compiler joins operations by itself
        return torch.stack([_largest_of(tensor) for tensor in tensors])
    found = [(block, _largest_in(block, tensors)) for block in blocks_of(tensors)]
    return joined(found, tensors)


def _largest_in(block: Block, tensors: Sequence[Tensor]) -> Tensor:
    if len(block.members) == 1:  # in place of a copy of a large tensor
        return _largest_of(tensors[block.members[0]]).view(1)
    return block.peaks(block.gather(tensors).abs_())


def _largest_of(tensor: Tensor) -> Tensor:
    if not tensor.numel():
        return tensor.new_zeros(())
    low, high = tensor.aminmax()
    return torch.maximum(low.abs(), high.abs())
