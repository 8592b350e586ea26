"""`Window`: the latest values, with their median, spread and quantiles."""

import torch
from torch import Tensor

from lightning_clip.core.state.state import State


class Window(State):
    """The latest `size` values, in a ring.

    Args:
        size: How many values are kept.

    Attributes:
        values: The ring, `(size,)`; NaN where nothing has been stored yet.
        count: How many values have been stored in all, int64 `()`.

    Example:
        >>> window = Window(3)
        >>> for x in (1.0, 5.0, 2.0, 3.0):
        ...     window.push(torch.tensor(x), torch.tensor(True))
        >>> float(window.quantile(0.5)), float(window.mad())
        (3.0, 1.0)
    """

    values: Tensor
    count: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("values", torch.full((size,), torch.nan))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def push(self, value: Tensor, keep: Tensor) -> None:
        """Store a value where `keep` holds, in the place of the oldest.

        Args:
            value: `()`.
            keep: Boolean `()`.
        """
        self.match(value)
        slot = (self.count % self.size).view(1)
        old = self.values.index_select(0, slot)
        self.values.index_copy_(0, slot, torch.where(keep, value.to(old.dtype), old))
        self.count.add_(keep)

    def quantile(self, fraction: float) -> Tensor:
        """A quantile of the stored values, interpolated linearly.

        Args:
            fraction: In [0, 1]; 0.5 for the median.

        Returns:
            `()`; NaN before the first value.
        """
        return torch.nanquantile(self.values, fraction)

    def mad(self) -> Tensor:
        """The median absolute deviation from the median, `()`; 1.4826 times it estimates a standard deviation."""
        return torch.nanquantile((self.values - self.quantile(0.5)).abs(), 0.5)
