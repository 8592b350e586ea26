"""`Window`: the latest values, with their median, spread and quantiles."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_clip.core.state.state import State
from lightning_clip.functional.reading import is_free_to_read


class Window(State):
    """The latest `size` values, in a ring buffer.

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

    def push(self, value: Tensor, keep: Tensor) -> None:
        """Store a value in place of the oldest one, if `keep` is true.

        Args:
            value: `()`.
            keep: Boolean `()`.
        """
        self.match(value)
        if is_free_to_read(self.count):
            if keep.item():
                self.values.numpy()[int(self.count) % self.size] = value.item()
                self.count.add_(1)
            return
        slot = (self.count % self.size).view(1)
        old = self.values.index_select(0, slot)
        self.values.index_copy_(0, slot, torch.where(keep, value.to(old.dtype), old))
        self.count.add_(keep)

    def quantile(self, fraction: float) -> Tensor:
        """A quantile of the stored values, with linear interpolation.

        Args:
            fraction: In [0, 1]; 0.5 gives the median.

        Returns:
            `()`; NaN before the first value.
        """
        if is_free_to_read(self.count):
            return self._quantile_on_host(fraction)
        rank = (self._stored() - 1).to(self.values.dtype) * fraction
        low = rank.long()
        ends = _in_order(self.values).index_select(0, torch.stack([low, rank.ceil().long()]))
        return torch.lerp(ends[0], ends[1], rank - low)

    def _quantile_on_host(self, fraction: float) -> Tensor:
        """The same in Python arithmetic, which takes a third of the time on tensors that are free to read."""
        rank = (min(max(int(self.count), 1), self.size) - 1) * fraction
        ordered = np.sort(self.values.numpy())
        low, high = ordered[int(rank)].item(), ordered[math.ceil(rank)].item()
        return torch.tensor(low + (high - low) * (rank % 1.0), dtype=self.values.dtype)

    def median(self) -> Tensor:
        """The median, `()`: the mean of the two middle values for an even count; NaN before the first value."""
        return self.median_and_mad()[0]

    def mad(self) -> Tensor:
        """The median absolute deviation from the median, `()`; 1.4826 times it estimates a standard deviation."""
        return self.median_and_mad()[1]

    def median_and_mad(self) -> tuple[Tensor, Tensor]:
        """Both `median()` and `mad()`, at the cost of `mad()` alone."""
        middle = (self._stored() + self._around_middle) // 2
        median = _mean_at(middle, self.values)
        return median, _mean_at(middle, (self.values - median).abs())

    def _stored(self) -> Tensor:
        """The number of values in the ring buffer, but at least 1: the first slot of an empty buffer holds NaN."""
        return self.count.clamp(1, self.size)

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
    return _in_order(values).index_select(0, positions).mean()


def _in_order(values: Tensor) -> Tensor:
    """The sorted values, NaN last; numpy sorts them on the CPU, in a fifth of the time."""
    return torch.from_numpy(np.sort(values.numpy())) if is_free_to_read(values) else values.sort().values
