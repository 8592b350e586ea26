"""`Window`: the latest values, with their median, spread and quantiles."""

import math
from bisect import bisect_left, insort
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_clip.core.state.sorted_values import deviation_at
from lightning_clip.core.state.state import State
from lightning_clip.functional.scalars import Scalar, scalar


class Window(State):
    """The latest `size` values, in a ring buffer.

    Where the values are free to read, a sorted list of them is kept beside the buffer, so that a quantile is read off
    and a new value is inserted by bisection. On an accelerator, each quantile sorts the buffer.

    Loading a checkpoint of a window with another size keeps the latest values that fit.

    Args:
        size: How many values to keep.

    Attributes:
        values: The ring buffer, `(size,)`; NaN in empty slots.
        count: The number of values stored so far, int64 `()`.

    Example:
        >>> window = Window(3)
        >>> for x in (1.0, 5.0, 2.0, 3.0):
        ...     window.push(torch.tensor(x), torch.tensor(True))
        >>> float(window.quantile(0.5)), float(window.mad())
        (3.0, 1.0)
    """

    holds_nan = True
    values: Tensor
    count: Tensor
    _around_middle: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("values", torch.full((size,), torch.nan))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("_around_middle", torch.tensor([-1, 0]), persistent=False)
        self._sorted: tuple[Any, list[float]] = None, []

    def push(self, value: Scalar, keep: Scalar) -> None:
        """Store a value in place of the oldest one, if `keep` is true.

        Args:
            value: A number or a tensor `()`.
            keep: A boolean or a boolean tensor `()`.
        """
        if isinstance(value, Tensor) or isinstance(keep, Tensor):
            value, keep = scalar(value), scalar(keep)
        self.match(value)
        values, count = self.array("values"), self.array("count")
        if values is None or count is None:
            slot = (self.count % self.size).view(1)
            old = self.values.index_select(0, slot)
            self.values.index_copy_(0, slot, torch.where(keep, value.to(old.dtype), old))
            self.count.add_(keep)
        elif keep:
            ordered, stored = self._ordered(count), count.item()
            place = stored % self.size
            if len(ordered) == self.size:
                del ordered[bisect_left(ordered, values.item(place))]
            values[place] = value
            insort(ordered, values.item(place))
            count[()] = stored + 1

    def stored(self) -> Scalar:
        """The number of values stored so far, a number or a tensor `()`."""
        return self.number("count")

    def quantile(self, fraction: float) -> Scalar:
        """A quantile of the stored values, with linear interpolation.

        Args:
            fraction: In [0, 1]; 0.5 gives the median.

        Returns:
            A number or a tensor `()`; NaN before the first value.
        """
        if (values := self.array("values")) is not None:
            ordered = self._ordered() or [math.nan]
            rank = (len(ordered) - 1) * fraction
            low, high = ordered[int(rank)], ordered[math.ceil(rank)]
            return values.dtype.type(low + (high - low) * (rank % 1.0))
        place = (self._in_buffer() - 1).to(self.values.dtype) * fraction
        lower = place.long()
        ends = self.values.sort().values.index_select(0, torch.stack([lower, place.ceil().long()]))
        return torch.lerp(ends[0], ends[1], place - lower)

    def median(self) -> Scalar:
        """The median: the mean of the two middle values for an even count; NaN before the first value."""
        return self.median_and_mad()[0]

    def mad(self) -> Scalar:
        """The median absolute deviation from the median; 1.4826 times it estimates a standard deviation."""
        return self.median_and_mad()[1]

    def median_and_mad(self) -> tuple[Scalar, Scalar]:
        """Both `median()` and `mad()`, at the cost of `mad()` alone."""
        if (values := self.array("values")) is not None:
            number, ordered = values.dtype.type, self._ordered()
            if not ordered:
                return number(math.nan), number(math.nan)
            places = {(len(ordered) - 1) // 2, len(ordered) // 2}
            median = number(sum(ordered[place] for place in places)) / number(len(places))
            deviations = [number(deviation_at(ordered, float(median), place)) for place in places]
            return median, number(sum(deviations)) / number(len(places))
        middle = (self._in_buffer() + self._around_middle) // 2
        middle_value = _mean_at(middle, self.values)
        return middle_value, _mean_at(middle, (self.values - middle_value).abs())

    def _in_buffer(self) -> Tensor:
        """The number of values in the ring buffer, but at least 1: the first slot of an empty buffer holds NaN."""
        return self.count.clamp(1, self.size)

    def _ordered(self, count: NDArray[Any] | None = None) -> list[float]:
        """The sorted values; sorted again only if the buffer is another one or was changed from outside."""
        values, count = self._buffers["values"], self.array("count") if count is None else count
        stored = min(count.item(), self.size) if count is not None else 0
        if self._sorted[0] is not values or len(self._sorted[1]) != stored:
            array = self.array("values")
            self._sorted = values, [] if array is None else np.sort(array[:stored]).tolist()
        return self._sorted[1]

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        saved = self.values.numel()
        if bool(self.values[: min(int(self.count), saved)].isnan().any()):
            raise ValueError(f"{prefix}values holds NaN.")
        if saved != self.size:
            count = int(self.count)
            latest = self.values.roll(-(count % saved) if count >= saved else 0)[: min(count, saved)][-self.size :]
            self.values = self.values.new_full((self.size,), torch.nan)
            self.values[: len(latest)] = latest
            self.count.fill_(len(latest))


def _mean_at(positions: Tensor, values: Tensor) -> Tensor:
    """The mean of the values at some positions of the sorted order."""
    return values.sort().values.index_select(0, positions).mean()
