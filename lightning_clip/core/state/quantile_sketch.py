"""`QuantileSketch`: quantiles of all values so far, in constant memory and time."""

import math
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_clip.core.state.cumulative_counts import CumulativeCounts
from lightning_clip.core.state.state import State
from lightning_clip.core.state.window import Window
from lightning_clip.functional.scalars import Scalar, choose

_EXACT = 1024
_BINS_PER_OCTAVE = 64
_FIRST_OCTAVE = -64
_BINS = 128 * _BINS_PER_OCTAVE


class QuantileSketch(State):
    """Quantiles of an unbounded history of positive numbers.

    Quantiles of up to 1024 values are exact. Beyond that, they come from counts on a logarithmic scale with 64 bins per
    doubling, from 2^-64 to 2^64, and are within 0.55% of the exact ones (half a bin: a factor of `2 ** (1 / 128)`).
    Both are kept from the start, so every step costs the same. The sketch holds 9216 numbers.

    Attributes:
        latest: The latest 1024 values.
        counts: The number of values in each bin, int64 `(8192,)`.

    Example:
        >>> sketch = QuantileSketch()
        >>> for x in (1.0, 5.0, 2.0, 3.0):
        ...     sketch.push(torch.tensor(x), torch.tensor(True))
        >>> float(sketch.quantile(0.5))
        2.5
    """

    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.latest = Window(_EXACT)
        self.register_buffer("counts", torch.zeros(_BINS, dtype=torch.int64))
        self._sums: tuple[Any, CumulativeCounts] | None = None

    @property
    def count(self) -> Tensor:
        """The number of values stored so far, int64 `()`."""
        return self.latest.count

    def stored(self) -> Scalar:
        """The number of values stored so far, a number or a tensor `()`."""
        return self.latest.stored()

    def push(self, value: Scalar, keep: Scalar) -> None:
        """Store a value if `keep` is true.

        Args:
            value: A positive number or a tensor `()`.
            keep: A boolean or a boolean tensor `()`.
        """
        self.match(value)
        self.latest.push(value, keep)
        counts = self.array("counts")
        if counts is None:
            octaves = torch.where(keep, value, 1.0).log2() - _FIRST_OCTAVE
            place = (octaves * _BINS_PER_OCTAVE).long().clamp(0, _BINS - 1)
            self.counts.index_add_(0, place.view(1), keep.long().view(1))
        elif keep:
            octave, sums = math.log2(value) - _FIRST_OCTAVE, self._cumulative(counts)
            number = min(max(int(octave * _BINS_PER_OCTAVE), 0), _BINS - 1)
            counts[number] += 1
            sums.increment(number)

    def quantile(self, fraction: float) -> Scalar:
        """A quantile of all values, with linear interpolation between neighbors.

        Args:
            fraction: In [0, 1]; 0.5 gives the median.

        Returns:
            A number or a tensor `()`; NaN before the first value.
        """
        exact = self.stored() <= _EXACT
        return choose(exact, lambda: self.latest.quantile(fraction), lambda: self._from_counts(fraction))

    def _from_counts(self, fraction: float) -> Scalar:
        counts, values = self.array("counts"), self.latest.array("values")
        if counts is not None and values is not None:
            rank = (int(self.stored()) - 1) * fraction
            sums = self._cumulative(counts)
            place, needed = sums.find(int(rank) + 1)
            low = high = _center(place)
            if place < _BINS and counts.item(place) == needed and rank % 1.0:
                high = _center(sums.find(int(rank) + 2)[0])
            return values.dtype.type(low + (high - low) * (rank % 1.0))
        dtype = self.latest.values.dtype
        position = (self.count - 1).to(dtype) * fraction
        lower = position.floor()
        bins = torch.searchsorted(self.counts.cumsum(0), torch.stack([lower, position.ceil()]).long() + 1)
        ends = torch.exp2((bins + 0.5) / _BINS_PER_OCTAVE + _FIRST_OCTAVE).to(dtype)
        return torch.lerp(ends[0], ends[1], position - lower)

    def _cumulative(self, counts: NDArray[Any]) -> CumulativeCounts:
        """The running sums of the counts; made again only if the buffer is another one or was changed from outside."""
        known = self.counts, self.counts._version  # what is written through the array does not change the version
        if self._sums is None or self._sums[0][0] is not known[0] or self._sums[0][1] != known[1]:
            self._sums = known, CumulativeCounts(counts.tolist())
        return self._sums[1]


def _center(place: int) -> float:
    """The value that a bin stands for."""
    return float(2.0 ** ((place + 0.5) / _BINS_PER_OCTAVE + _FIRST_OCTAVE))
