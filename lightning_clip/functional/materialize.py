"""`materialize_`: gradients that can be measured and changed in place."""

import torch
from torch import Tensor

from lightning_clip.functional.sharded import laid_out_like


def materialize_(param: Tensor, grad: Tensor) -> Tensor:
    """Finish pending sums of a sparse or sharded gradient, and store the result as the gradient of its parameter.

    Args:
        param: The parameter.
        grad: Its gradient, dense, sparse COO or sharded.

    Returns:
        The parameter's gradient from now on, which can be changed in place.
    """
    result = laid_out_like(grad, param)
    if result.layout is torch.sparse_coo and not result.is_coalesced():
        result = result.coalesce()
    if result is not grad:
        param.grad = result
    return result
