"""Imaginary samples of recurrent weights."""

import math
from collections.abc import Sequence
from typing import Any

from lightning_clip.core import Measurement
from lightning_clip.core.recurrent.spectrum import KIND, SHARES

GATES = {"tanh": ("",), "relu": ("",), "lstm": ("input", "forget", "cell", "output"), "gru": ("reset", "update", "new")}
BOUNDS = {"tanh": (1.0,), "relu": (1.0,), "lstm": (4.0, 4.0, 1.0, 4.0), "gru": (4.0, 4.0, 1.0)}


def sample(
    step: int,
    cell: str,
    weights: Sequence[str],
    sigma: Sequence[float],
    *,
    radius: float = 0.9,
    denormal: float = 0.0,
    device: str = "cpu",
    bound: float | None = None,
    **shares: Sequence[float],
) -> Measurement:
    """Return a sample of one layer; radii are `radius` times the singular values, and unknown statistics are NaN."""
    count = len(weights)
    data: dict[str, Any] = {
        "device": device,
        "weights": [name for name in weights for _ in GATES[cell]],
        "gates": list(GATES[cell]) * count,
        "cells": [cell] * count * len(GATES[cell]),
        "bounds": list(BOUNDS[cell]) * count if bound is None else [bound] * count * len(GATES[cell]),
        "units": list(weights),
        "layers": ["rnn"],
        "sigma_max": list(sigma),
        "spectral_radius": [radius * value for value in sigma],
        **{share: list(shares.get(share, [math.nan] * count)) for share in SHARES},
        "denormal_fraction": [denormal],
    }
    assert len(data["sigma_max"]) == len(data["weights"])
    return Measurement(step, KIND, data)
