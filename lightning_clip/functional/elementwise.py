"""Limits on individual elements, with few passes over memory."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_clip.functional.scaling import clip_coef


def clamp_(tensors: Sequence[Tensor], limit: float) -> None:
    """Clamp every element of several tensors to an absolute value of at most `limit`, in place.

    A complex element keeps its phase; one that is NaN or infinite has none and stays as it is.

    Args:
        tensors: Tensors of any shape, real or complex.
        limit: The largest absolute value, positive.

    Example:
        >>> values = torch.tensor([3 + 4j, 0.1j])
        >>> clamp_([values], 1.0)
        >>> values
        tensor([0.6000+0.8000j, 0.0000+0.1000j])
    """
    real = [tensor for tensor in tensors if not tensor.is_complex()]
    if real:
        torch._foreach_clamp_min_(real, -limit)
        torch._foreach_clamp_max_(real, limit)
    for tensor in tensors:
        if tensor.is_complex():
            tensor.mul_(clip_coef(tensor.abs(), limit))


def element_coef_(limit: Tensor, magnitude: Tensor, *, min_scale: float = 0.0, defined: bool = False) -> Tensor:
    """The factor on each element, `min(1, max(min_scale, limit / magnitude))`, computed in the memory of `limit`.

    The factor is 1 where the quotient is undefined (`0 / 0`, `inf / inf`, NaN).

    Args:
        limit: The largest allowed magnitudes, any shape; overwritten.
        magnitude: The absolute values of the elements, of the same shape.
        min_scale: Smallest factor, in [0, 1].
        defined: Whether the quotient is known to be defined everywhere, which saves a pass.

    Returns:
        `limit`, each value in [min_scale, 1].

    Example:
        >>> element_coef_(torch.tensor([1.0, 1.0, torch.inf]), torch.tensor([4.0, 0.5, torch.inf]))
        tensor([0.2500, 1.0000, 1.0000])
    """
    coefs = limit.div_(magnitude).clamp_(min=min_scale, max=1.0)
    return coefs if defined else coefs.nan_to_num_(nan=1.0)
