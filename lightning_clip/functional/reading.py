"""`is_free_to_read`: whether the host can read a tensor without waiting for a device."""

import torch
from torch import Tensor


def is_free_to_read(tensor: Tensor) -> bool:
    """Whether reading a tensor blocks nothing: it is on the CPU, and no compiler is tracing.

    Args:
        tensor: Any tensor. Its values are not read.

    Returns:
        Whether the tensor is free to read.

    Example:
        >>> is_free_to_read(torch.ones(2)), is_free_to_read(torch.ones(2, device="meta"))
        (True, False)
    """
    return tensor.is_cpu and not torch.compiler.is_compiling()
