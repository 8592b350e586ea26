"""`FirstValues`: the first few values, from which a rule estimates its starting level."""

import numpy as np
import torch
from torch import Tensor

from lightning_clip.core.state.state import State
from lightning_clip.functional.scalars import Scalar


class FirstValues(State):
    """The first `size` values; later values are only counted.

    A moving average that starts from a spike keeps it for hundreds of steps. An order statistic of the first few values
    ignores it.

    Args:
        size: How many values to keep. A loaded checkpoint overrides it.

    Attributes:
        values: The values in order of arrival, `(size + 1,)`; the last slot is scratch space and holds 0.
        count: The number of values seen, int64 `()`.

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
        """The number of values to keep."""
        return self.values.numel() - 1

    def push(self, value: Scalar, keep: Scalar) -> None:
        """Store a value if `keep` is true and fewer than `size` values are stored.

        Args:
            value: A number or a tensor `()`.
            keep: A boolean or a boolean tensor `()`.
        """
        self.match(value)
        count = self.array("count")
        if count is not None:
            if keep:
                if (place := count.item()) < self.size and (values := self.array("values")) is not None:
                    values[place] = value
                count[()] = place + 1
            return
        # A value that is not kept becomes a zero in the next free slot: an unconditional write saves one read.
        slot = self.count.clamp(max=self.size).view(1)
        kept = torch.where(keep & ~self.full(), value.to(self.values.dtype), 0.0)
        self.values.index_copy_(0, slot, kept.view(1))
        self.count.add_(keep)

    def full(self) -> Scalar:
        """Whether `size` values have been seen, a boolean or a boolean tensor `()`."""
        count = self.array("count")
        return (self.count if count is None else count.item()) >= self._buffers["values"].numel() - 1  # type: ignore[union-attr]

    def kept(self) -> Tensor:
        """The stored values, `(size,)`; zeros in empty slots."""
        return self.values[: self.size]

    def quantile(self, fraction: float) -> Scalar:
        """The largest value of the full set with at most a given fraction of the other values below it.

        Args:
            fraction: In [0, 1]; 0.5 gives the (lower) median.
        """
        values = self.array("values")
        return self._order(self.kept() if values is None else values[:-1], fraction)

    def median_and_mad(self) -> tuple[Scalar, Scalar]:
        """The (lower) median of the full set and the median absolute deviation from it."""
        median, values = self.quantile(0.5), self.array("values")
        return median, self._order(abs((self.kept() if values is None else values[:-1]) - median), 0.5)

    def _order(self, values: Scalar, fraction: float) -> Scalar:
        place = int(fraction * (self.size - 1))
        return values.sort().values[place] if isinstance(values, Tensor) else np.sort(values)[place]
