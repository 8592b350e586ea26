"""`summed_loss`: a loss over the targets that count."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def summed_loss(task: str, outputs: Tensor, targets: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | int]:
    """The sum of the loss over targets, and how many they are.

    Args:
        task: `"classification"` or `"next_token"`: cross-entropy in nats; `"regression"`: squared error, the mean over
            the numbers of a target.
        outputs: `(…, out_features)`; half precision is summed in float32.
        targets: Classes `(…)`, or numbers `(…, out_features)`; for one number also `(…)`.
        mask: `(…)`, true where a target counts; the others may be anything, NaN included. `None` for everywhere.

    Returns:
        The sum, `()`, and the number of targets, which is known without reading the device where there is no mask.

    Example:
        >>> outputs, targets = torch.tensor([[1.0], [2.0]]), torch.tensor([3.0, float("nan")])
        >>> summed_loss("regression", outputs, targets, torch.tensor([True, False]))
        (tensor(4.), tensor(1))
    """
    if mask is None:
        losses = _LOSSES[task](outputs.float(), targets)
        return losses.sum(), losses.numel()
    # What is masked is replaced before and after: the gradient of 0 times NaN would be NaN.
    shape = [*mask.shape, *[1] * (targets.dim() - mask.dim())]
    known = torch.where(mask.reshape(shape), targets, torch.zeros_like(targets))
    losses = _LOSSES[task](outputs.float(), known)
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
