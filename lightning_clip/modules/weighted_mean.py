"""`WeightedMean`: a metric that averages over targets, however they are distributed over chunks."""

import torch
from torch import Tensor
from torchmetrics import Metric


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
