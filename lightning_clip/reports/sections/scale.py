"""`LogScale`: the logarithmic axis of a chart in characters, with its labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_clip.reports.formats import number

FLOOR = 0.06
"""The part of the height below the smallest value, so that it can be seen."""


@dataclass(frozen=True, slots=True)
class LogScale:
    """A logarithmic axis.

    Attributes:
        low: Decimal logarithm at the lower end.
        high: Decimal logarithm at the upper end.
        height: Lines.
        is_empty: Whether no value can be read off.
    """

    low: float
    high: float
    height: int
    is_empty: bool

    @classmethod
    def of(cls, before: Sequence[float], after: Sequence[float], height: int) -> "LogScale":
        """The scale on which all values can be seen.

        Args:
            before: Values; those that are not positive and finite are left out.
            after: More values.
            height: Lines.
        """
        values = np.array([*before, *after])
        logs = np.log10(values[np.isfinite(values) & (values > 0)])
        low, high = (float(logs.min()), float(logs.max())) if len(logs) else (0.0, 0.0)
        if high - low < 1:  # less than a decade would turn a ripple into a mountain
            low, high = (low + high - 1) / 2, (low + high + 1) / 2
        return cls(low - FLOOR * (high - low), high, height, is_empty=not len(logs))

    def heights(self, values: NDArray[np.float64], *, within: bool = False) -> NDArray[np.int64]:
        """The height of each value, in eighths of a line; 0 for nothing to show.

        Args:
            values: The values.
            within: Whether to show nothing for a value outside the scale.
        """
        shown = values > 0
        if within:
            shown &= (values >= 10**self.low) & (values <= 10**self.high)
        logs = np.log10(values, out=np.full(len(values), self.low), where=shown)
        eighths = np.rint((logs - self.low) / (self.high - self.low) * self.height * 8)
        return np.where(shown, np.maximum(eighths, 1), 0).astype(np.int64)

    def labels(self) -> list[str]:
        """The label of each line, from the bottom up; empty for most lines."""
        labels = [""] * self.height
        for value in self._ticks():
            row = math.floor((math.log10(value) - self.low) / (self.high - self.low) * self.height)
            row = min(row, self.height - 1)
            if not any(labels[max(0, row - 1) : row + 2]):
                labels[row] = number(value)
        if sum(map(bool, labels)) == 1:  # one number is no scale
            other = 0 if any(labels[self.height // 2 :]) else self.height - 1
            labels[other] = number(10 ** (self.low + (other + 0.5) / self.height * (self.high - self.low)))
        return labels

    def _ticks(self) -> list[float]:
        if self.is_empty:
            return []
        span = self.high - self.low
        factors = (1, 2, 5) if span < 2.5 else (1,)
        every = max(1, math.ceil(span / (self.height / 2)))
        decades = range(math.floor(self.low), math.floor(self.high) + 1)
        ticks = [factor * 10.0**decade for factor in factors for decade in decades if decade % every == 0]
        return [tick for tick in ticks if self.low <= math.log10(tick) <= self.high]
