"""A gradient made ready to be changed in place."""

import torch
from torch import Tensor

from lightning_clip.functional.sharded import laid_out_like


def _materialize(param: Tensor, grad: Tensor) -> Tensor:
    """The gradient as it will be applied: sums carried out, so that its elements can be changed in place.

    Args:
        param: The parameter, which is given the new gradient where it is another one.
        grad: Its gradient.
    """
    ready = laid_out_like(grad, param)
    if ready.layout is torch.sparse_coo and not ready.is_coalesced():
        ready = ready.coalesce()
    if ready is not grad:
        param.grad = ready
    return ready
