"""`NormSample`: the total norms of one optimizer over a stretch of training, and the threshold that they suggest."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lightning_clip._errors import ArgumentError

EXPLOSION_FACTOR = 100.0
"""Norms that exceed the median of the earlier ones by this factor have exploded."""

EXPLOSION_STEPS = 3
"""The number of such norms in a row; fewer are spikes."""


@dataclass(slots=True)
class NormSample:
    """Total norms before clipping, in order, up to the step at which the run diverged.

    Attributes:
        norms: The norms of the steps that had a gradient, all finite and positive.
        step_limit: The largest threshold that keeps every step short; infinite if the length of a step is not known.
        diverged: How the run diverged, for people to read; empty if it did not.
    """

    norms: list[float] = field(default_factory=list)
    step_limit: float = math.inf
    diverged: str = ""
    _lowest: float = math.inf

    def add(self, norm: float) -> bool:
        """Add the norm of one step.

        Args:
            norm: The total norm; NaN or infinity is a divergence, and 0 is no sample.

        Returns:
            Whether the run has diverged. The norms that exploded are removed then.
        """
        if not math.isfinite(norm):
            self.diverged = f"the gradient became {'NaN' if math.isnan(norm) else 'infinite'} in step {len(self.norms)}"
        elif norm > 0:
            self.norms.append(norm)
            last = self.norms[-EXPLOSION_STEPS:]
            earlier = self.norms[:-EXPLOSION_STEPS]
            self._lowest = min(norm, self._lowest)
            is_high = min(last) > EXPLOSION_FACTOR * self._lowest  # saves the median, which is slow, in most steps
            if is_high and earlier and min(last) > EXPLOSION_FACTOR * float(np.median(earlier)):
                self.norms = earlier
                self.diverged = f"the norm exploded from step {len(earlier)} on, to {last[-1]:.3g}"
        return bool(self.diverged)

    def suggestion(self, statistic: str) -> float | None:
        """The threshold that the sample suggests, with three significant digits.

        Args:
            statistic: The statistic of the norms: `"mean"`, `"median"` or a percentile such as `"p90"`.

        Returns:
            The statistic, or `step_limit` if that is smaller; `None` without norms.
        """
        return rounded(self.threshold(statistic)) if self.norms else None

    def threshold(self, statistic: str) -> float:
        """The same without rounding; needs at least one norm.

        Args:
            statistic: The statistic of the norms.
        """
        return min(value_of(statistic, self.norms), self.step_limit)


def value_of(statistic: str, norms: Sequence[float]) -> float:
    """The value of a statistic.

    Args:
        statistic: `"mean"`, `"median"` or a percentile such as `"p90"`.
        norms: At least one norm.

    Example:
        >>> [value_of(name, [1.0, 2.0, 6.0]) for name in ("mean", "median", "p100")]
        [3.0, 2.0, 6.0]
    """
    if statistic == "mean":
        return float(np.mean(norms))
    return float(np.percentile(norms, 50 if statistic == "median" else float(statistic[1:])))


def check_statistic(call: str, statistic: str) -> None:
    """Raise unless `value_of` knows the statistic.

    Args:
        call: The class that is given the statistic, quoted in the error message.
        statistic: The statistic.

    Raises:
        ArgumentError: It is unknown.
    """
    found = re.fullmatch(r"mean|median|p(\d+(?:\.\d+)?)", statistic) if isinstance(statistic, str) else None
    if found is None or (found[1] and float(found[1]) > 100):
        raise ArgumentError(
            f"{call}(statistic={statistic!r}): statistic must be 'mean', 'median' or a percentile from 'p0' to 'p100'."
        )


def rounded(value: float) -> float:
    """A threshold with three significant digits, so that it can be written down and gives the same run."""
    return float(f"{value:.3g}")
