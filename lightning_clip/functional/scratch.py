"""`scratch`: memory for temporary values that each thread keeps from step to step."""

import threading
from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_clip.functional.reading import is_free_to_read

CACHED = 2**16
"""The number of elements of a block on the CPU: the temporary values of a rule then stay in the cache of a core."""


_MOST_PARTS = 1_000


class _Kept(threading.local):
    def __init__(self) -> None:
        self.memory: dict[tuple[torch.dtype, bool], Tensor] = {}
        self.parts: dict[tuple[torch.dtype, bool, int], Tensor] = {}


_kept = _Kept()


def scratch(numel: int, like: Tensor, *, second: bool = False) -> Tensor | None:
    """Memory for temporary values, which the next call overwrites.

    New memory of this size may go back to the system at every step, and to get it again takes longer than to copy a
    block into it.

    Args:
        numel: The number of elements.
        like: A tensor that the values come from.
        second: Whether to return other memory than a call without `second`.

    Returns:
        `(numel,)`, of the dtype of `like`; `None`, which as `out` of an operation means new memory, on an accelerator,
        for more than a block, and where autograd or a subclass of tensors would notice.

    Example:
        >>> with torch.no_grad():
        ...     scratch(3, torch.ones(())).shape
        torch.Size([3])
    """
    if numel > CACHED or torch.is_grad_enabled() or type(like) is not Tensor or not is_free_to_read(like):
        return None
    part = _kept.parts.get((like.dtype, second, numel))
    return _new_part(numel, like, second) if part is None else part


def _new_part(numel: int, like: Tensor, second: bool) -> Tensor | None:
    kind = like.dtype, second
    with torch.inference_mode(False), torch.no_grad():  # what inference mode makes cannot be changed elsewhere
        memory = _kept.memory.get(kind)
        if memory is None:
            memory = torch.empty(CACHED, dtype=like.dtype, device=like.device)
        if type(memory) is not Tensor:
            return None
        _kept.memory[kind] = memory
        if len(_kept.parts) >= _MOST_PARTS:
            _kept.parts.clear()
        part = _kept.parts[*kind, numel] = memory[:numel]
    return part


def stacked(tensors: Sequence[Tensor]) -> Tensor:
    """Stack tensors in memory that the next call of `scratch` overwrites.

    Args:
        tensors: `n` tensors of the same shape, dtype and device, not empty.

    Returns:
        `(n, …)`.

    Example:
        >>> with torch.no_grad():
        ...     stacked([torch.ones(2), torch.zeros(2)])
        tensor([[1., 1.],
                [0., 0.]])
    """
    memory = scratch(len(tensors) * tensors[0].numel(), tensors[0])
    return torch.stack(tensors, out=None if memory is None else memory.view(len(tensors), *tensors[0].shape))  # type: ignore[arg-type]
