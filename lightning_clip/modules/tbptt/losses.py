"""Losses over a varying number of targets: `summed_loss` adds them up, `WeightedMean` averages them."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torchmetrics import Metric


def summed_loss(task: str, outputs: Tensor, targets: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | int]:
    """Sum the loss over targets, and count them.

    Args:
        task: `"classification"` or `"next_token"` for cross-entropy, in nats; `"regression"` for the squared error,
            averaged over the features of a target.
        outputs: `(…, out_features)`; half precision is summed in float32.
        targets: Classes `(…)`, or numbers `(…, out_features)`, or `(…)` for a single feature.
        mask: `(…)`, true where a target counts; other targets may have any value, even NaN. `None` counts all.

    Returns:
        The sum, `()`, and the number of targets; without a mask, the number is known without reading the device.

    Example:
        >>> outputs, targets = torch.tensor([[1.0], [2.0]]), torch.tensor([3.0, float("nan")])
        >>> summed_loss("regression", outputs, targets, torch.tensor([True, False]))
        (tensor(4.), tensor(1))
    """
    if mask is None:
        losses = _LOSSES[task](outputs.float(), targets)
        return losses.sum(), losses.numel()
    # Masked targets are replaced before and after the loss: multiplying by 0 would leave NaN gradients.
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


class WeightedMean(Metric):
    """The mean over the targets of all processes, from sums over some of them and their numbers.

    Unlike `torchmetrics.MeanMetric`, it neither drops NaN and infinite values nor reads the device to find them.

    Example:
        >>> mean = WeightedMean()
        >>> mean.update(torch.tensor([1.0, 2.0]).sum(), 2)
        >>> mean.update(torch.tensor(6.0), 1)
        >>> mean.compute()
        tensor(3.)
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, total: Tensor, count: Tensor | float) -> None:
        """Add targets.

        Args:
            total: Sum over the targets, `()`.
            count: Number of the targets.
        """
        self.total += total.detach()
        self.count += count

    def compute(self) -> Tensor:
        """The mean, `()`; 0 without targets."""
        return self.total / self.count.clamp(min=1)
