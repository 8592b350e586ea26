"""`lag_bars`: the gradient by lag as bars on a logarithmic scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

MOST_BARS = 14
"""The largest number of bars; beyond it, adjacent lags share one."""

_DECADES = 8.0
_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True, slots=True)
class LagBar:
    """A group of adjacent lags.

    Attributes:
        first: The first lag.
        last: The last one.
        value: Their largest norm, relative to lag 0; NaN or infinite where one of them is.
        fraction: Length of the bar, in [0, 1].
    """

    first: int
    last: int
    value: float
    fraction: float

    @property
    def label(self) -> str:
        """For instance `8–15`."""
        return f"{self.first}" if self.first == self.last else f"{self.first}\N{EN DASH}{self.last}"

    def drawn(self, width: int) -> str:
        """The bar in characters.

        Args:
            width: The width of a full bar.
        """
        full, part = divmod(round(self.fraction * width * 8), 8)
        return "█" * full + _EIGHTHS[part].strip()


def lag_bars(norms: Sequence[float]) -> list[LagBar]:
    """Group adjacent lags, and scale their norms logarithmically, from eight decades below lag 0.

    Args:
        norms: The norm at each lag.

    Returns:
        A bar for each group of lags; all groups but the last have the same size.
    """
    size = math.ceil(len(norms) / MOST_BARS)
    unit = norms[0] if math.isfinite(norms[0]) and norms[0] > 0 else 1.0
    groups = [norms[start : start + size] for start in range(0, len(norms), size)]
    values = [max(group, key=lambda norm: norm if math.isfinite(norm) else math.inf) / unit for group in groups]
    logs = [math.log10(value) for value in values if math.isfinite(value) and value > 0]
    high = max(logs, default=0.0)
    low = max(min(logs, default=0.0), min(0.0, high) - _DECADES)
    if high - low < 1:  # less than a decade would turn a ripple into a slope
        low = high - 1
    low -= 0.05 * (high - low)  # keeps the smallest bar visible
    return [
        LagBar(start * size, start * size + len(group) - 1, value, _fraction(value, low, high))
        for start, (group, value) in enumerate(zip(groups, values, strict=True))
    ]


def _fraction(value: float, low: float, high: float) -> float:
    if not math.isfinite(value):
        return 1.0
    return max(0.0, (math.log10(value) - low) / (high - low)) if value > 0 else 0.0
