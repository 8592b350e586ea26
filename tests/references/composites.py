"""References of composite rules and of spike skipping."""

from collections.abc import Callable, Iterable

import numpy as np

Arrays = dict[str, np.ndarray]
Rule = Callable[[Arrays, Arrays], Arrays]


def total(grads: Arrays) -> float:
    return float(np.sqrt(sum((grad.astype(np.float64) ** 2).sum() for grad in grads.values())))


def norm_rule(max_norm: float) -> Rule:
    """Scale by min(1, max_norm / N)."""
    return lambda grads, weights: {n: g * min(1.0, max_norm / max(total(grads), 1e-300)) for n, g in grads.items()}


def each_norm_rule(max_norm: float) -> Rule:
    """Scale each gradient by min(1, max_norm / its own norm)."""
    return lambda grads, weights: {
        n: g * min(1.0, max_norm / max(float(np.linalg.norm(g)), 1e-300)) for n, g in grads.items()
    }


def value_rule(limit: float) -> Rule:
    """Clamp each element to [-limit, limit]."""
    return lambda grads, weights: {name: np.clip(grad, -limit, limit) for name, grad in grads.items()}


def chained(*rules: Rule) -> Rule:
    """Apply each rule to the result of the one before."""

    def rule(grads: Arrays, weights: Arrays) -> Arrays:
        for one in rules:
            grads = one(grads, weights)
        return grads

    return rule


def tightest(*rules: Rule) -> Rule:
    """Of each element, take the value nearest to zero."""

    def rule(grads: Arrays, weights: Arrays) -> Arrays:
        left = [one(grads, weights) for one in rules]
        result = {}
        for name in grads:
            stack = np.stack([values[name] for values in left])
            nearest = np.abs(stack).argmin(axis=0)[None]
            result[name] = np.take_along_axis(stack, nearest, axis=0)[0]
        return result

    return rule


def skipped_spikes(
    norms: Iterable[float],
    *,
    k: float = 6.0,
    window: int = 128,
    max_consecutive: int = 5,
    max_fraction: float = 0.01,
) -> list[tuple[bool, float, float]]:
    """For each norm: whether the step is skipped, otherwise the factor, and the limit."""
    history: list[float] = []
    in_a_row = 0
    counted = 0
    skips: list[int] = []
    decisions = []
    for norm in norms:
        latest = np.array(history[-window:])
        limit = np.inf
        if len(latest) >= window // 8:
            median = np.median(latest)
            mad = np.median(np.abs(latest - median))
            limit = float(median + k * max(1.4826 * mad, 0.05 * median))
            if len(latest) < window // 2 and not norm > 32 * limit:
                limit = np.inf
        if not np.isfinite(norm) or norm == 0:
            decisions.append((False, 1.0, limit))
            continue
        spike = norm > limit
        counted += 1
        skip = spike and in_a_row < max_consecutive and _may_skip(skips, counted, max_consecutive, max_fraction)
        if skip:
            skips.append(counted)
        decisions.append((skip, min(1.0, limit / norm), limit))
        in_a_row = in_a_row + 1 if spike else 0
        history.append(norm)
    return decisions


def _may_skip(skips: list[int], step: int, saved: int, fraction: float) -> bool:
    """Earn one skip every `1 / fraction` steps and save up at most `saved`, by going through all steps again."""
    earned = 0.0
    for number in range(1, step + 1):
        earned = min(earned + fraction, saved) - (number in skips)
    return earned >= 1 - 1e-9
