"""Norm sequences for testing the switching ladder."""

import numpy as np

KINDS = ("quiet", "one spike", "cluster", "shift", "slow drift", "nan burst", "spike every 100", "heavy tail")


def norms(kind: str, steps: int = 4000) -> np.ndarray:
    """Return log-normal norms around 1 with the named disturbance; the shift is ×8, the drift ×30."""
    rng = np.random.default_rng(1)
    x = np.exp(0.25 * rng.standard_normal(steps))
    if kind == "one spike":
        x[1000] *= 300
    elif kind == "cluster":
        x[1000:1030:3] *= 50
    elif kind == "shift":
        x[1000:] *= 8
    elif kind == "slow drift":
        x *= np.exp(np.linspace(0, np.log(30), steps))
    elif kind == "nan burst":
        x[1000:1006] = np.nan
    elif kind == "spike every 100":
        x[500::100] *= 40
    elif kind == "heavy tail":
        x = np.exp(0.25 * rng.standard_normal(steps))
        x *= np.where(rng.random(steps) < 0.02, np.exp(rng.exponential(1.5, steps)), 1)
    return x
