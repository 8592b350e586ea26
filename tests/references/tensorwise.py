"""References of rules that look at each step alone, one obvious loop each."""

from collections.abc import Callable, Mapping

import numpy as np

Arrays = dict[str, np.ndarray]
Reference = Callable[[Arrays, Arrays], Arrays]


def total_norm(grads: Arrays, p: float = 2.0) -> float:
    elements = np.concatenate([grad.reshape(-1) for grad in grads.values()])
    return _norm(elements, p)


def norm_clip(max_norm: float, *, p: float = 2.0, eps: float = 0.0, min_scale: float = 0.0) -> Reference:
    def clip(grads: Arrays, weights: Arrays) -> Arrays:
        norm = total_norm(grads, p)
        if norm + eps <= max_norm:
            return grads
        return {name: grad * max(min_scale, max_norm / (norm + eps)) for name, grad in grads.items()}

    return clip


def value_clip(clip_value: float) -> Reference:
    return lambda grads, weights: {name: np.clip(grad, -clip_value, clip_value) for name, grad in grads.items()}


def per_parameter_norm_clip(max_norm: float, *, p: float = 2.0, min_scale: float = 0.0) -> Reference:
    one = norm_clip(max_norm, p=p, min_scale=min_scale)
    return lambda grads, weights: {name: one({name: grad}, weights)[name] for name, grad in grads.items()}


def group_norm_clip(groups: Mapping[tuple[str, ...], float], *, rms: bool = False) -> Reference:
    """Limits by the names of the members of each group."""

    def clip(grads: Arrays, weights: Arrays) -> Arrays:
        result = dict(grads)
        for names, limit in groups.items():
            group = {name: grads[name] for name in names if name in grads}
            if group:
                size = sum(grad.size for grad in group.values())
                result |= norm_clip(limit * np.sqrt(size) if rms else limit)(group, weights)
        return result

    return clip


def agc(clip_factor: float, eps: float, *, whole: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> Reference:
    """Units are slices along the first dimension, or the whole tensor for names in `whole`."""

    def clip_unit(grad: np.ndarray, weight: np.ndarray) -> np.ndarray:
        limit = clip_factor * max(_norm(weight), eps)
        return grad * limit / _norm(grad) if _norm(grad) > limit else grad

    def clip(grads: Arrays, weights: Arrays) -> Arrays:
        result = {}
        for name, grad in grads.items():
            if name in exclude:
                result[name] = grad
            elif grad.ndim < 2 or name in whole:
                result[name] = clip_unit(grad, weights[name])
            else:
                result[name] = np.stack([clip_unit(g, w) for g, w in zip(grad, weights[name], strict=True)])
        return result

    return clip


def ratio_clip(clip_factor: float, eps: float) -> Reference:
    def clip(grads: Arrays, weights: Arrays) -> Arrays:
        limits = {name: clip_factor * max(eps, _norm(weights[name])) for name in grads}
        return {name: grad / max(1.0, _norm(grad) / limits[name]) for name, grad in grads.items()}

    return clip


def soft_clip(max_norm: float, shape: str, *, min_scale: float = 0.0) -> Reference:
    def clip(grads: Arrays, weights: Arrays) -> Arrays:
        norm = total_norm(grads)
        after = {
            "sqrt": norm / np.sqrt(1 + (norm / max_norm) ** 2),
            "rational": norm / (1 + norm / max_norm),
            "tanh": max_norm * np.tanh(norm / max_norm),
        }[shape]
        factor = max(min_scale, after / norm) if norm > 0 else 1.0
        return {name: grad * factor for name, grad in grads.items()}

    return clip


def normalize(norm: float, *, per_parameter: bool) -> Reference:
    def clip(grads: Arrays, weights: Arrays) -> Arrays:
        norms = {name: _norm(grad) if per_parameter else total_norm(grads) for name, grad in grads.items()}
        return {name: grad * norm / norms[name] if norms[name] > 0 else grad for name, grad in grads.items()}

    return clip


def spectral_clip(limit: float) -> Reference:
    def bend(values: np.ndarray) -> np.ndarray:
        return values / np.sqrt(1 + (values / limit) ** 2)

    def clip_one(grad: np.ndarray) -> np.ndarray:
        if grad.ndim < 2:
            return grad / np.sqrt(1 + (_norm(grad) / limit) ** 2)
        u, s, vt = np.linalg.svd(grad.reshape(grad.shape[0], -1), full_matrices=False)
        return (u @ np.diag(bend(s)) @ vt).reshape(grad.shape)

    return lambda grads, weights: {name: clip_one(grad) for name, grad in grads.items()}


def _norm(x: np.ndarray, p: float = 2.0) -> float:
    if x.size == 0:
        return 0.0
    return float(np.abs(x).max()) if np.isinf(p) else float((np.abs(x) ** p).sum() ** (1 / p))
