"""`SpikeDetector`: scores how unusual a norm is compared to the norms before it."""

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightning_clip._checks import check_count, check_positive
from lightning_clip._errors import ArgumentError

SEVERE = 3.0
"""The weight of a severe event; NaN and infinity weigh more."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A detector's verdict on one step.

    Attributes:
        weight: How bad the step is: 0 calm, 1 mild, 3 severe, 5 NaN or infinite.
        norm: Total norm before clipping.
        median: Median of the norms before it; NaN until three norms are known.
        score: How many robust standard deviations the logarithm of the norm is above the median.
    """

    weight: float
    norm: float
    median: float
    score: float


class SpikeDetector:
    """Compares the logarithm of each norm with the median of the logarithms before it, in units of their spread.

    The spread is 1.4826 times the median absolute deviation, but never below a floor. During warmup it is fixed. The
    detector reads norms before clipping and remembers every finite one above 0, so a lasting change becomes the new
    normal within half a window. A norm of 0 is a step without a gradient: it is calm, and not remembered.

    Args:
        window: How many norms to remember.
        warmup_steps: How many norms must be seen before the spread is measured; until then it is `warmup_scale`.
        mild: Standard deviations above the median that count as a mild event.
        severe: Standard deviations above the median that count as a severe event.
        min_scale: Floor of the spread, in natural-logarithm units; 0.1 makes 4 deviations a factor of 1.5.
        warmup_scale: The spread during warmup; 0.29 makes 4 deviations a factor of 3.2 and 8 a factor of 10.

    Raises:
        ArgumentError: An argument is out of range, or `severe` is not above `mild`.

    Example:
        >>> detector = SpikeDetector()
        >>> readings = [detector.read(norm) for norm in (1.0, 1.1, 0.9, 1.0, 30.0)]
        >>> readings[-1].weight, round(readings[-1].score, 1)
        (3.0, 11.7)
    """

    _FIRST = 3
    _CALM_AT_A_TIME = 16

    def __init__(
        self,
        window: int = 200,
        *,
        warmup_steps: int = 50,
        mild: float = 4.0,
        severe: float = 8.0,
        min_scale: float = 0.1,
        warmup_scale: float = 0.29,
    ) -> None:
        check_count("SpikeDetector", window=window, warmup_steps=warmup_steps)
        check_positive("SpikeDetector", mild=mild, severe=severe, min_scale=min_scale, warmup_scale=warmup_scale)
        if severe <= mild:
            raise ArgumentError(f"SpikeDetector(mild={mild}, severe={severe}): severe must be above mild.")
        self.window = window
        self.warmup_steps = warmup_steps
        self.mild = mild
        self.severe = severe
        self.min_scale = min_scale
        self.warmup_scale = warmup_scale
        self._logs: deque[float] = deque(maxlen=window)
        self._sorted: list[float] = []
        self._seen = 0
        self._calm: list[float] = []
        self._calm_up_to = 0.0

    def read(self, norm: float) -> Reading:
        """Compare a norm with the norms before it, then remember it.

        Args:
            norm: Total norm before clipping; may be infinite or NaN, or 0 if there was no gradient.

        Returns:
            The reading.
        """
        self._settle()
        if not math.isfinite(norm):
            return Reading(5.0, norm, self._median(), math.inf)
        if norm <= 0:
            return Reading(0.0, norm, self._median(), 0.0)
        log = math.log(max(norm, 1e-30))
        score = self._score(log)
        weight = SEVERE if score > self.severe else 1.0 if score > self.mild else 0.0
        reading = Reading(weight, norm, self._median(), score)
        self._remember(log)
        return reading

    def is_severe(self, norm: float) -> bool:
        """Return whether `read` calls a norm severe, and remember it; much faster where it is clearly calm.

        Args:
            norm: Total norm before clipping; may be infinite or NaN, or 0 if there was no gradient.
        """
        if 0 < norm <= self._calm_up_to:
            self._calm.append(norm)
            if len(self._calm) == self._CALM_AT_A_TIME:
                self._settle()
            return False
        self._settle()
        if math.isfinite(norm) and norm > 0 and len(self._logs) >= self._FIRST:
            log = math.log(max(norm, 1e-30))
            above = log - self._middle()
            if above <= self._always_calm or self._is_usual(above):
                self._remember(log)
                self._calm_up_to = self._next_calm()
                return False
        return self.read(norm).weight >= SEVERE

    @property
    def _always_calm(self) -> float:
        """How far above the median a logarithm is not severe, however narrow the spread."""
        return self.severe * min(self.min_scale, self.warmup_scale)

    def _next_calm(self) -> float:
        """Up to which norm none of the next is severe: even if all were tiny, the median would fall a place each."""
        lowest = len(self._sorted) // 2 - 1 - self._CALM_AT_A_TIME
        return math.exp(self._sorted[lowest] + self._always_calm) * (1 - 1e-9) if lowest >= 0 else 0.0

    def _settle(self) -> None:
        """Remember the norms that were found calm and put aside, because many at once take as long as one."""
        calm, self._calm, self._calm_up_to = self._calm, [], 0.0
        for norm in calm:
            self._remember(math.log(max(norm, 1e-30)))

    def _is_usual(self, above: float) -> bool:
        """Whether most norms are so far from the median that one this far above it cannot be severe."""
        if self._seen < self.warmup_steps:
            return False
        middle, radius = self._middle(), above / (1.4826 * self.severe) * (1 + 1e-9)
        near = bisect_right(self._sorted, middle + radius) - bisect_left(self._sorted, middle - radius)
        return near < len(self._sorted) // 2  # so the median of the distances is larger than the radius

    def _remember(self, log: float) -> None:
        if len(self._logs) == self.window:
            del self._sorted[bisect_left(self._sorted, self._logs[0])]
        self._logs.append(log)
        insort(self._sorted, log)
        self._seen += 1

    def _middle(self) -> float:
        """The median of the logarithms."""
        half, is_odd = divmod(len(self._sorted), 2)
        return self._sorted[half] if is_odd else (self._sorted[half - 1] + self._sorted[half]) / 2

    def _score(self, log: float) -> float:
        if len(self._logs) < self._FIRST:
            return 0.0
        logs, median = np.array(self._logs), self._middle()
        if self._seen < self.warmup_steps:  # the spread of a few growing norms would hide their growth
            return (log - median) / self.warmup_scale
        spread = 1.4826 * float(np.median(np.abs(logs - median)))
        return (log - median) / max(spread, self.min_scale)

    def _median(self) -> float:
        return math.exp(self._middle()) if len(self._logs) >= self._FIRST else math.nan

    @property
    def norms(self) -> list[float]:
        """The norms that it remembers, in order."""
        self._settle()
        return [math.exp(log) for log in self._logs]

    def state_dict(self) -> dict[str, Any]:
        """The state as plain numbers and lists."""
        self._settle()
        return {"logs": list(self._logs), "seen": self._seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`."""
        self._calm, self._calm_up_to = [], 0.0
        self._logs = deque(state["logs"], maxlen=self.window)
        self._sorted = sorted(self._logs)
        self._seen = state["seen"]
