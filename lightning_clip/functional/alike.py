"""The 2-norms of many small tensors of the same shape, in a few operations on the CPU."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_clip.functional.scratch import CACHED, stacked

_FEW = 32
"""So many tensors of a shape are worth a copy that makes one tensor of them."""

_SMALL = 2**12
"""For a tensor of more elements, to copy it costs more than to start an operation on it."""

_TYPES = (torch.float32, torch.float64)


def norms_of_alike(tensors: Sequence[Tensor]) -> Tensor | None:
    """The 2-norm of each of many small dense tensors, bit for bit what `torch._foreach_norm` returns.

    On the CPU, that function starts an operation for each tensor, which takes longer than the arithmetic on 4,096
    elements. Here, tensors of the same shape are stacked, as many as fit into the cache, and measured row by row. Both
    reduce contiguous memory with the same kernel.

    Args:
        tensors: `n` dense tensors of one dtype on one device.

    Returns:
        `(n,)`, of their dtype; `None` if there is nothing to gain, or another way is needed.
    """
    first = tensors[0]
    if len(tensors) < _FEW or not first.is_cpu or first.dtype not in _TYPES or torch.compiler.is_compiling():
        return None
    shapes = [tensor.shape for tensor in tensors]
    if shapes.count(first.shape) == len(shapes):
        return _of_rows(tensors) if _can_be_stacked(tensors) else None
    groups: dict[torch.Size, list[int]] = {}
    for i, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(i)
    alike = [members for members in groups.values() if _can_be_stacked([tensors[i] for i in members])]
    if not alike:
        return None
    order = [i for members in alike for i in members]
    parts = [_of_rows([tensors[i] for i in members]) for members in alike]
    rest = sorted(set(range(len(tensors))).difference(order))
    if rest:
        parts.append(torch.stack(torch._foreach_norm([tensors[i] for i in rest], 2.0)))
    norms = first.new_empty(len(tensors))
    norms[order + rest] = torch.cat(parts)
    return norms


def _can_be_stacked(tensors: Sequence[Tensor]) -> bool:
    return len(tensors) >= _FEW and 0 < tensors[0].numel() <= _SMALL and all(map(Tensor.is_contiguous, tensors))


def _of_rows(tensors: Sequence[Tensor]) -> Tensor:
    size, parts = tensors[0].numel(), []
    portion = CACHED // size
    for i in range(0, len(tensors), portion):
        rows = stacked(tensors[i : i + portion]).view(-1, size)
        parts.append(torch.linalg.vector_norm(rows, 2.0, 1))
    return torch.cat(parts)
