"""`WeightedMean`: a mean over targets, however they are spread over chunks."""

import torch
from torch import Tensor
from torchmetrics import Metric


class WeightedMean(Metric):
    """The sum of what it is given over the number of targets that it stands for, of all processes.

    Unlike `torchmetrics.MeanMetric` it neither drops values that are not finite nor reads the device to look for them.

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
            total: The sum over them, `()`.
            count: How many they are.
        """
        self.total += total.detach()
        self.count += count

    def compute(self) -> Tensor:
        """The mean, `()`; 0 without targets."""
        return self.total / self.count.clamp(min=1)
