"""`element_losses` and `masked_sum`: a loss for each target, and their sum where there is one."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def element_losses(task: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss at each target.

    Args:
        task: `"classification"` or `"next_token"`: cross-entropy in nats; `"regression"`: squared error, the mean over
            the numbers of a target.
        outputs: `(…, out_features)`.
        targets: Classes `(…)`, or numbers `(…, out_features)`; for one number also `(…)`.

    Returns:
        `(…)`, in float32 also where the outputs are in half precision.
    """
    return _LOSSES[task](outputs.float(), targets)


def masked_sum(losses: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | int]:
    """The sum of the losses that count.

    Args:
        losses: `(…)`; what is masked may be anything, NaN included.
        mask: `(…)`, true where a loss counts; `None` for everywhere.

    Returns:
        The sum, `()`, and how many they are.
    """
    if mask is None:
        return losses.sum(), losses.numel()
    return torch.where(mask, losses, 0.0).sum(), mask.sum()


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    flat = F.cross_entropy(outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1), reduction="none")
    return flat.reshape(targets.shape)


def _squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets.reshape(outputs.shape)).square().mean(dim=-1)


_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "classification": _cross_entropy,
    "next_token": _cross_entropy,
    "regression": _squared_error,
}
