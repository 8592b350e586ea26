"""Whether the host may look at a number."""

import torch
from torch import Tensor


def is_free_to_read(tensor: Tensor) -> bool:
    """Whether reading a tensor makes nobody wait: it is on the CPU, and no compiler is tracing.

    Args:
        tensor: Any tensor.

    Returns:
        The answer, without reading.

    Example:
        >>> is_free_to_read(torch.ones(2)), is_free_to_read(torch.ones(2, device="meta"))
        (True, False)
    """
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()
