"""`FirstValues`: what a rule learns its first level from."""

import torch
from torch import Tensor

from lightning_clip.core.state.state import State


class FirstValues(State):
    """The first `size` values; later ones are only counted.

    An average that starts from the first value keeps a spike there for hundreds of steps. An order statistic of the
    first few values does not.

    Args:
        size: How many values are kept. A checkpoint brings its own size.

    Attributes:
        values: The values in the order they came, `(size + 1,)`; the last place is scratch.
        count: How many values have been seen in all, int64 `()`.

    Example:
        >>> first = FirstValues(3)
        >>> for x in (1.0, 5000.0, 2.0, 7.0):
        ...     first.push(torch.tensor(x), torch.tensor(True))
        >>> bool(first.full()), [float(x) for x in first.median_and_mad()]
        (True, [2.0, 1.0])
    """

    values: Tensor
    count: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("values", torch.zeros(size + 1))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @property
    def size(self) -> int:
        """How many values are kept."""
        return self.values.numel() - 1

    def push(self, value: Tensor, keep: Tensor) -> None:
        """Store a value where `keep` holds, unless `size` values are there.

        Args:
            value: `()`.
            keep: Boolean `()`.
        """
        self.match(value)
        # What is not to be kept goes where the next value will be: writing without a condition is one read less.
        slot = self.count.clamp(max=self.size).view(1)
        self.values.index_copy_(0, slot, torch.where(keep, value.to(self.values.dtype), 0.0).view(1))
        self.count.add_(keep)

    def full(self) -> Tensor:
        """Whether `size` values have been seen, boolean `()`."""
        return self.count >= self.size

    def kept(self) -> Tensor:
        """The values, `(size,)`; zeros where none has come yet."""
        return self.values[: self.size]

    def quantile(self, fraction: float) -> Tensor:
        """An order statistic of the full set: its largest value with at most that fraction of the others below, `()`.

        Args:
            fraction: In [0, 1]; 0.5 for the (lower) median.
        """
        return self._order(self.kept(), fraction)

    def median_and_mad(self) -> tuple[Tensor, Tensor]:
        """The (lower) median of the full set and the median absolute deviation from it, each `()`."""
        median = self.quantile(0.5)
        return median, self._order((self.kept() - median).abs(), 0.5)

    def _order(self, values: Tensor, fraction: float) -> Tensor:
        return values.sort().values[int(fraction * (self.size - 1))]
