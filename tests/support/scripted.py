"""Scripted gradients: 220 steps with heavy tails, zeros, missing gradients and spikes."""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from lightning_clip import ClipStrategy, Gradients, clip_
from lightning_clip.core import PendingStep

SHAPES = {"linear.weight": (6, 4), "linear.bias": (6,), "conv.weight": (3, 2, 2, 2), "scale": ()}

Arrays = dict[str, np.ndarray]


def scripted_steps(steps: int = 220, *, seed: int = 0) -> Iterator[Arrays]:
    """Yield read-only gradients by parameter name; a missing gradient is not in the dictionary."""
    return map(dict, _drawn(steps, seed))


@cache
def _drawn(steps: int, seed: int) -> list[Arrays]:
    """The gradients of all steps, drawn once."""
    drawn = list(_draw(steps, seed))
    for grads in drawn:
        for grad in grads.values():
            grad.setflags(write=False)
    return drawn


def _draw(steps: int, seed: int) -> Iterator[Arrays]:
    rng = np.random.default_rng(seed)
    for step in range(steps):
        level = np.exp(0.3 * rng.standard_normal()) * (1 + rng.pareto(3.0))
        grads = {name: level * 0.1 * rng.standard_t(4, shape) for name, shape in SHAPES.items()}
        if step in (30, 150):
            grads = {name: 1000.0 * grad for name, grad in grads.items()}  # a spike of all gradients
        if step in (60, 61):
            grads["linear.bias"] = np.zeros(SHAPES["linear.bias"])  # one gradient of zero
        if step == 90:
            grads = {name: np.zeros(shape) for name, shape in SHAPES.items()}  # all gradients are zero
        if step in (5, 120, 121):
            del grads["linear.bias"]  # an unused parameter
        if step == 200:
            grads["conv.weight"] = 300.0 * grads["conv.weight"]  # a spike of one gradient
        yield {name: np.asarray(grad) for name, grad in grads.items()}


def scripted_weights(*, seed: int = 1) -> Arrays:
    """Return weights by parameter name; one unit of the convolution is zero, as after zero initialization."""
    rng = np.random.default_rng(seed)
    weights = {name: np.asarray(rng.standard_normal(shape)) for name, shape in SHAPES.items()}
    weights["conv.weight"][0] = 0.0
    return weights


def parameters(weights: Arrays, dtype: torch.dtype = torch.float64) -> dict[str, nn.Parameter]:
    return {name: nn.Parameter(torch.tensor(value, dtype=dtype)) for name, value in weights.items()}


def feed(
    strategy: ClipStrategy,
    params: dict[str, nn.Parameter],
    grads: Arrays,
    *,
    step: int = 0,
    optimizer: torch.optim.Optimizer | None = None,
) -> PendingStep:
    """Set the gradients, clip them once, and return the pending step."""
    for name, param in params.items():
        param.grad = torch.tensor(grads[name], dtype=param.dtype) if name in grads else None
    return clip_(Gradients(list(params), list(params.values()), step=step, optimizer=optimizer), strategy)


in_both_precisions = pytest.mark.parametrize(
    "precision",
    [
        pytest.param({"dtype": torch.float64}, id="float64"),
        pytest.param({"dtype": torch.float32, "steps": 100}, id="float32"),
        pytest.param({"dtype": torch.float32}, id="float32, every step", marks=pytest.mark.slow),
    ],
)
"""Arguments for `assert_parity`: the formula in float64, and its rounding in float32 over the first spike and zeros."""


def assert_parity(
    strategy: ClipStrategy,
    reference: Callable[[Arrays, Arrays], Arrays],
    *,
    dtype: torch.dtype = torch.float64,
    steps: int = 220,
) -> None:
    """Assert that strategy and reference leave the same gradients, to 1e-9 in float64 and 1e-5 in float32."""
    tolerance = 1e-9 if dtype == torch.float64 else 1e-5
    weights = scripted_weights()
    params = parameters(weights, dtype)
    names, found, wanted = [], [], []
    for step, grads in enumerate(scripted_steps(steps)):
        expected = reference({name: grad.copy() for name, grad in grads.items()}, weights)
        feed(strategy, params, grads, step=step)
        for name, value in expected.items():
            names.append(f"step {step}, {name}")
            found.append(params[name].grad.flatten())
            wanted.append(np.asarray(value).ravel())
    # All are compared at once, because thousands of small comparisons take as long as the rule.
    actual, value = torch.cat(found).double().numpy(), np.concatenate(wanted)
    sizes = [len(one) for one in wanted]
    starts = np.cumsum([0, *sizes[:-1]])
    scale = np.maximum(1.0, np.maximum.reduceat(np.abs(value), starts))
    is_close = np.abs(actual - value) <= tolerance * (np.abs(value) + np.repeat(scale, sizes))
    for k in np.flatnonzero(~np.logical_and.reduceat(is_close, starts)):
        part = slice(starts[k], starts[k] + sizes[k])
        np.testing.assert_allclose(
            actual[part], value[part], rtol=tolerance, atol=tolerance * scale[k], err_msg=names[k]
        )
