"""References of rules that remember something about each tensor or element, one obvious loop each."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np

Arrays = dict[str, np.ndarray]
Reference = Callable[[Arrays, Arrays], Arrays]


def norm(grad: np.ndarray) -> float:
    return math.sqrt(float(np.sum(grad**2)))


def corrected(values: list[float], decay: float) -> float:
    """Bias-corrected exponential average of all values: the plain sum of weights times values."""
    weights = [decay ** (len(values) - 1 - i) for i in range(len(values))]
    return sum(w * x for w, x in zip(weights, values, strict=True)) / sum(weights)


def elements(grads: Arrays) -> Iterator[tuple[tuple[str, tuple[int, ...]], float]]:
    """Give every element a key of its own."""
    for name, grad in grads.items():
        for index in np.ndindex(grad.shape):
            yield (name, index), float(grad[index])


def paper_ada_gc(
    clip_factor: float = 1.05,
    *,
    decay: float = 0.98,
    max_norm: float = 1.0,
    warmup_steps: int = 100,
    eps: float = 1e-8,
) -> Reference:
    """Algorithm 1 of the paper, line by line."""
    level: dict[str, float] = {}
    step = 0

    def clip(grads: Arrays, weights: Arrays) -> Arrays:
        nonlocal step
        step += 1
        shared = min(1.0, max_norm / (math.sqrt(sum(norm(grad) ** 2 for grad in grads.values())) + eps))
        result = {}
        for name, grad in grads.items():
            if step < warmup_steps or name not in level:
                result[name] = shared * grad
                level[name] = min(level.get(name, math.inf), norm(result[name]))
            else:
                result[name] = min(1.0, clip_factor * max(level[name], eps) / max(norm(grad), eps)) * grad
                level[name] = decay * level[name] + (1 - decay) * norm(result[name])
        return result

    return clip


def ada_gc(
    clip_factor: float = 1.05,
    *,
    decay: float = 0.98,
    max_norm: float = 1.0,
    warmup_steps: int = 100,
    history: str = "winsorized",
    floor: float = 0.01,
    eps: float = 1e-8,
) -> Reference:
    """The same with a running median, a history policy and a floor; zeros are skipped."""
    level: dict[str, float] = {}
    step: dict[str, int] = defaultdict(int)
    above: dict[str, int] = defaultdict(int)

    def clip(grads: Arrays, weights: Arrays) -> Arrays:
        shared = min(1.0, max_norm / (math.sqrt(sum(norm(grad) ** 2 for grad in grads.values())) + eps))
        known = sorted(level.values())
        least = max(eps, floor * known[(len(known) - 1) // 2] if known else 0.0)
        result, learned = {}, dict(level)
        for name, grad in grads.items():
            size = norm(grad)
            warming = step[name] + 1 < warmup_steps or name not in level
            if warming:
                limit, coef = (shared * size if shared < 1 else math.inf), shared
            else:
                limit = clip_factor * max(level[name], least)
                coef = min(1.0, limit / max(size, eps))
            result[name] = coef * grad
            if size == 0:
                continue
            step[name] += 1
            if history == "accepted" and size > limit:
                above[name] += 1
                if above[name] <= 20:
                    continue
            else:
                above[name] = 0
            stored = {"clipped": min(size, limit), "winsorized": min(size, 2 * limit)}.get(history, size)
            if name not in level:
                learned[name] = stored
            elif warming:
                learned[name] = level[name] * math.exp(np.sign(stored - level[name]) / (2 * math.sqrt(step[name])))
            else:
                learned[name] = decay * level[name] + (1 - decay) * stored
        level.update(learned)
        return result

    return clip


def growth_limit(ratio: float, *, floor: float, decay: float = 0.99, of_all: bool = False) -> Reference:
    """Limit each tensor by its own last norm, or all tensors by the last total norm."""
    last: dict[str, float] = {}
    logs: dict[str, list[float]] = defaultdict(list)

    def coef(name: str, size: float) -> float:
        if size == 0:
            return 1.0
        limit = math.inf
        if name in last:
            limit = ratio * max(last[name], floor * math.exp(corrected(logs[name], decay)))
        logs[name].append(math.log(min(size, 2 * limit)))
        last[name] = min(size, limit)
        return last[name] / size

    def clip(grads: Arrays, weights: Arrays) -> Arrays:
        if of_all:
            shared = coef("all", math.sqrt(sum(norm(grad) ** 2 for grad in grads.values())))
            return {name: shared * grad for name, grad in grads.items()}
        return {name: coef(name, norm(grad)) * grad for name, grad in grads.items()}

    return clip


def adaptive_max(decay: float, *, history: str) -> Reference:
    """Scale elements above the average of the largest element by average / largest."""
    peaks: dict[str, list[float]] = defaultdict(list)

    def clip(grads: Arrays, weights: Arrays) -> Arrays:
        result = {}
        for name, grad in grads.items():
            peak = float(np.abs(grad).max())
            if peak > 0:
                before = corrected(peaks[name], decay) if peaks[name] else math.inf
                peaks[name].append(min(peak, {"observed": math.inf, "clipped": 1, "winsorized": 2}[history] * before))
            average = corrected(peaks[name], decay) if peaks[name] else math.inf
            result[name] = np.array([x * average / peak if abs(x) > average else x for x in grad.reshape(-1)])
            result[name] = result[name].reshape(grad.shape)
        return result

    return clip


def elementwise(
    power: float, *, decay: float, warmup_steps: int, history: str, multiple: float = 1.0, eps: float = 0.0
) -> Reference:
    """Compare every element with `multiple` times the power mean of its own past."""
    mean: dict[tuple[str, tuple[int, ...]], float] = {}
    steps: dict[str, int] = defaultdict(int)

    def one(key: tuple[str, tuple[int, ...]], x: float) -> float:
        k = steps[key[0]]
        limit = multiple * mean[key] ** (1 / power) if key in mean and k >= warmup_steps else math.inf
        if x == 0:
            return x
        gain = (1 - decay) / (1 - decay ** (k + 1))
        stored = abs(x) ** power
        if history == "clipped":
            stored = min(stored, limit**power)
        if history == "winsorized" and limit < math.inf:
            stored = min(stored, mean[key] * (1 + (1.02**power - 1) / gain))
        mean[key] = mean[key] + gain * (stored - mean[key]) if key in mean else stored
        return x * min(1.0, limit / (abs(x) + eps))

    def clip(grads: Arrays, weights: Arrays) -> Arrays:
        result = {name: np.empty_like(grad) for name, grad in grads.items()}
        for key, x in elements(grads):
            result[key[0]][key[1]] = one(key, x)
        for name, grad in grads.items():
            steps[name] += bool(grad.any())
        return result

    return clip


def update_rms(max_rms: float, *, beta2: float, eps: float = 1e-6) -> Reference:
    """StableAdamW's factor, with a separate second moment that learns from each clipped gradient."""
    moment: dict[str, np.ndarray] = {}
    steps: dict[str, int] = defaultdict(int)

    def clip(grads: Arrays, weights: Arrays) -> Arrays:
        result = {}
        for name, grad in grads.items():
            past = moment.get(name, np.zeros_like(grad))
            steps[name] += 1
            coming = (beta2 * past + (1 - beta2) * grad**2) / (1 - beta2 ** steps[name])
            rms = math.sqrt(float(np.mean(grad**2 / np.maximum(coming, eps**2))))
            result[name] = grad / max(1.0, rms / max_rms)
            moment[name] = beta2 * past + (1 - beta2) * result[name] ** 2
        return result

    return clip


def ada_gn(
    gamma1: float = 0.7, *, gamma2: float = 0.9, target: float = 1.0, history: str = "winsorized", eps: float = 1e-8
) -> Reference:
    """Scale each gradient to `target * mean / (rms + eps)` of its own norms, this one included."""
    stored: dict[str, list[float]] = defaultdict(list)

    def clip(grads: Arrays, weights: Arrays) -> Arrays:
        result = {}
        for name, grad in grads.items():
            size, norms = norm(grad), stored[name]
            if norms and history != "observed" and 0 < 32 * size < math.sqrt(corrected([n**2 for n in norms], gamma2)):
                norms.clear()
            if size > 0:
                before = corrected(norms, gamma1) if norms else math.inf
                norms.append(min(size, {"observed": math.inf, "clipped": 1, "winsorized": 2}[history] * before))
            left = size
            if norms and size > 0:
                left = target * corrected(norms, gamma1) / (math.sqrt(corrected([n**2 for n in norms], gamma2)) + eps)
            result[name] = grad * (left / size) if size > 0 else grad
        return result

    return clip


def group_ema(
    factors: dict[str, float],
    group_of: Callable[[str], str | None],
    *,
    decay: float = 0.98,
    max_norm: float = 1.0,
    warmup_steps: int = 20,
) -> Reference:
    """Limit each group to a multiple of its level, which starts as the mean of clipped norms."""
    level: dict[str, float] = {}
    steps: dict[str, int] = defaultdict(int)
    explosions: dict[str, int] = defaultdict(int)

    def clip(grads: Arrays, weights: Arrays) -> Arrays:
        total = math.sqrt(sum(norm(grad) ** 2 for grad in grads.values()))
        shared = min(1.0, max_norm / total) if total > 0 else 1.0
        result = dict(grads)
        for group, factor in factors.items():
            own = [name for name in grads if group_of(name) == group]
            size = math.sqrt(sum(norm(grads[name]) ** 2 for name in own))
            warming = steps[group] < warmup_steps or group not in level
            limit = math.inf if warming else factor * level[group]
            for name in own:
                result[name] = grads[name] * (shared if warming else min(1.0, limit / size) if size > 0 else 1.0)
            if size == 0:
                continue
            steps[group] += 1
            explosions[group] = explosions[group] + 1 if size > 32 * limit else 0
            if explosions[group] > 5 and explosions[group] % 20:
                continue
            value = shared * size if warming else min(size, 2 * limit)
            if group not in level:
                level[group] = value
            elif warming:
                level[group] += (value - level[group]) / steps[group]
            else:
                level[group] = decay * level[group] + (1 - decay) * value
        return result

    return clip
