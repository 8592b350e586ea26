"""`scaled_learning_rate`: scales the learning rate of an optimizer temporarily."""

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.core.optimizer import LightningOptimizer
from torch.optim import Optimizer


@contextmanager
def scaled_learning_rate(optimizer: Optimizer | LightningOptimizer, factor: float) -> Iterator[None]:
    """Multiply the learning rates of all parameter groups, and restore them on exit.

    Args:
        optimizer: The optimizer whose learning rates are scaled.
        factor: Factor on the learning rates.

    Example:
        >>> import torch
        >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
        >>> with scaled_learning_rate(sgd, 0.1):
        ...     sgd.param_groups[0]["lr"]
        0.05
        >>> sgd.param_groups[0]["lr"]
        0.5
    """
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * factor
    try:
        yield
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
