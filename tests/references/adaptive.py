"""References of rules that limit the total norm by earlier norms: percentile, quantile, z-score, median, averages.

As everywhere in the package, zero and non-finite norms are not stored, and the quotient is exact unless a reference
says otherwise.
"""

import math
from collections.abc import Callable

import numpy as np

Arrays = dict[str, np.ndarray]
Reference = Callable[[Arrays, Arrays], Arrays]


def by_total_norm(factor: Callable[[float], float]) -> Reference:
    """Scale all gradients by a function of their total norm."""

    def clip(grads: Arrays, weights: Arrays) -> Arrays:
        norm = math.sqrt(sum(float((grad**2).sum()) for grad in grads.values()))
        scale = factor(norm) if norm > 0 and math.isfinite(norm) else 1.0
        return {name: scale * grad for name, grad in grads.items()}

    return clip


class Stored:
    """The part of a norm that a policy stores, or `None`; of explosions, few are stored after five in a row."""

    def __init__(self, policy: str, factor: float = 2.0, max_rejected: int = 20, explosion: float = 32.0) -> None:
        self.policy, self.factor, self.max_rejected, self.explosion = policy, factor, max_rejected, explosion
        self.rejected = self.explosions = 0

    def __call__(self, norm: float, limit: float) -> float | None:
        value = self._by_policy(norm, limit)
        self.explosions = self.explosions + 1 if norm > self.explosion * limit else 0
        if value is None or self.explosions <= 5:
            return value
        return None if self.explosions % 20 else min(value, 2 * limit)

    def _by_policy(self, norm: float, limit: float) -> float | None:
        if self.policy == "observed":
            return norm
        if self.policy == "clipped":
            return min(norm, limit)
        if self.policy == "winsorized":
            return min(norm, self.factor * limit)
        self.rejected = 0 if norm <= limit else self.rejected + 1
        return norm if norm <= limit or self.rejected > self.max_rejected else None


def auto_clip(
    percentile: float = 10.0,
    *,
    window: int = 1000,
    include_current: bool = False,
    min_history: int = 1,
    history: str = "observed",
) -> Reference:
    """`np.percentile` of a list."""
    norms: list[float] = []
    stored = Stored(history)

    def factor(norm: float) -> float:
        if include_current:
            norms.append(norm)
        known = norms[-window:]
        limit = float(np.percentile(known, percentile)) if len(known) >= min_history else math.inf
        if not include_current:
            value = stored(norm, limit)
            assert value is not None
            norms.append(value)
        return min(1.0, limit / norm)

    return by_total_norm(factor)


def quantile_clip(quantile: float = 0.9, *, rate: float = 0.05, warmup_steps: int = 10) -> Reference:
    """The limit moves by `exp(-rate * ([N <= limit] - quantile))`, from an order statistic of the first norms."""
    first: list[float] = []
    limit = math.inf

    def factor(norm: float) -> float:
        nonlocal limit
        before = limit
        if len(first) < warmup_steps:
            first.append(norm)
            if len(first) == warmup_steps:
                limit = sorted(first)[math.floor(quantile * (warmup_steps - 1))]
        else:
            limit *= math.exp(-rate * ((norm <= limit) - quantile))
        return min(1.0, before / norm)

    return by_total_norm(factor)


def robust_clip(
    k: float = 3.0,
    *,
    window: int = 128,
    min_history: int = 64,
    history: str = "observed",
    min_relative_std: float = 0.05,
) -> Reference:
    """The median plus k robust standard deviations of a list."""
    norms: list[float] = []
    stored = Stored(history)

    def factor(norm: float) -> float:
        known, limit = np.array(norms[-window:]), math.inf
        if len(known) >= max(1, min_history // 4):
            median = float(np.median(known))
            mad = float(np.median(np.abs(known - median)))
            limit = median + k * max(1.4826 * mad, min_relative_std * median)
            if len(known) < min_history and norm <= 32 * limit:
                limit = math.inf
        value = stored(norm, limit)
        if value is not None:
            norms.append(value)
        return min(1.0, limit / norm)

    return by_total_norm(factor)


def ema_ratio_clip(
    trigger: float = 2.0,
    *,
    target: float = 1.1,
    fast: float = 0.9,
    slow: float = 0.99,
    history: str = "winsorized",
    warmup_steps: int = 10,
    start_norm: float = 1.0,
    max_norm: float = 16.0,
) -> Reference:
    """Above `trigger` times the slow average, clip to `target` times the fast one; both start at the lower median."""
    first: list[float] = []
    stored = Stored(history)
    f = s = math.inf

    def factor(norm: float) -> float:
        nonlocal f, s
        if len(first) < warmup_steps:
            first.append(min(norm, start_norm))
            if len(first) == warmup_steps:
                f = s = sorted(first)[(warmup_steps - 1) // 2]
            return min(1.0, start_norm / norm)
        left = min(target * f, max_norm)
        limit = left if norm > min(max(trigger * s, left), max_norm) else math.inf
        value = stored(norm, limit)
        if value is not None:
            f, s = fast * f + (1 - fast) * value, slow * s + (1 - slow) * value
        return min(1.0, limit / norm)

    return by_total_norm(factor)


class AuthorsEmaGradClip:
    """The authors' `EmaGradClip`, in Python numbers and with their names."""

    def __init__(self) -> None:
        self.ema1 = self.ema2 = 0.0
        self.index = 0

    def factor(self, norm: float) -> float:
        """Return the factor on the gradients, and record what the authors record."""
        if self.index == 0:
            max_norm, clip_norm = 10000.0, 1.0
        else:
            max_norm = 2.0 * self.ema2 / (1 - 0.99**self.index)
            clip_norm = 1.1 * self.ema1 / (1 - 0.9**self.index)
        clipped = norm > max_norm
        recorded = clip_norm if clipped and self.index else norm
        self.index += 1
        self.ema1 = 0.9 * self.ema1 + (1 - 0.9) * recorded
        self.ema2 = 0.99 * self.ema2 + (1 - 0.99) * recorded
        return min(1.0, clip_norm / (norm + 1e-6)) if clipped else 1.0


class AuthorsZClip:
    """The authors' algorithm in Python numbers, with their names."""

    def __init__(
        self,
        mode: str = "zscore",
        clip_option: str = "adaptive_scaling",
        *,
        max_grad_norm: float | None = 1.0,
        clip_factor: float = 1.0,
        skip_update_on_spike: bool = False,
        warmup_steps: int = 25,
    ) -> None:
        self.z_thresh, self.alpha, self.eps = 2.5, 0.97, 1e-6
        self.mode, self.clip_option, self.max_grad_norm, self.clip_factor = (
            mode,
            clip_option,
            max_grad_norm,
            clip_factor,
        )
        self.skip_update_on_spike, self.warmup_steps = skip_update_on_spike, warmup_steps
        self.buffer: list[float] = []
        self.mean = self.var = math.nan

    def factor(self, norm: float) -> float:
        if len(self.buffer) < self.warmup_steps:
            self.buffer.append(norm)
            self.mean = _sum(self.buffer) / len(self.buffer)
            self.var = _sum([(x - self.mean) ** 2 for x in self.buffer]) / len(self.buffer)
            return 1.0 if self.max_grad_norm is None else min(1.0, self.max_grad_norm / (norm + 1e-6))
        clip_val = self._clip_val(norm)
        limit = norm if clip_val is None else clip_val
        if clip_val is None or not self.skip_update_on_spike:
            self.mean = self.alpha * self.mean + (1 - self.alpha) * limit
            self.var = self.alpha * self.var + (1 - self.alpha) * (limit - self.mean) ** 2
        limit = limit if self.max_grad_norm is None else min(limit, self.max_grad_norm)
        return limit / (norm + 1e-6) if norm > limit else 1.0

    def _clip_val(self, norm: float) -> float | None:
        std = self.var**0.5
        if self.mode == "percentile":
            return self.mean + self.z_thresh * std if norm > self.mean + self.z_thresh * std else None
        z = (norm - self.mean) / (std + self.eps)
        if z <= self.z_thresh:
            return None
        if self.clip_option == "mean":
            return self.mean
        return (self.mean + (self.z_thresh * std) / (z / self.z_thresh)) * self.clip_factor


def z_clip(
    z_thresh: float = 2.5,
    *,
    alpha: float = 0.97,
    warmup_steps: int = 25,
    mode: str = "adaptive",
    max_norm: float = math.inf,
    min_relative_std: float = 0.05,
    history: str = "winsorized",
) -> Reference:
    """Our variant: starts from median and MAD, with a floored standard deviation, a history and the exact quotient."""
    first: list[float] = []
    stored = Stored(history, factor=1.0)
    mean = var = math.inf

    def factor(norm: float) -> float:
        nonlocal mean, var
        std = max(math.sqrt(var), min_relative_std * mean)
        edge, limit = mean + z_thresh * (std + 1e-6), math.inf
        if norm > edge:
            z = (norm - mean) / (std + 1e-6)
            adaptive = mean + z_thresh * std * z_thresh / z
            limit = {"adaptive": adaptive, "mean": mean, "threshold": mean + z_thresh * std}[mode]
        value = stored(norm, limit if history == "clipped" else edge)
        if value is not None and len(first) == warmup_steps:
            mean = alpha * mean + (1 - alpha) * value
            var = alpha * var + (1 - alpha) * (value - mean) ** 2
        elif value is not None:
            first.append(value)
            if len(first) == warmup_steps:
                middle = (warmup_steps - 1) // 2
                mean = sorted(first)[middle]
                var = (1.4826 * sorted(abs(x - mean) for x in first)[middle]) ** 2
        return min(1.0, limit / norm, max_norm / norm)

    return by_total_norm(factor)


def _sum(values: list[float]) -> float:
    """The sum without the compensation that `sum` has had since Python 3.12."""
    total = 0.0
    for value in values:
        total += value
    return total
