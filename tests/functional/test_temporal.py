"""Growth rate, half-life, horizon and span of norms by lag."""

import math

import numpy as np
import pytest
import torch

from lightning_clip.functional import growth_rate, half_life, horizon, norms_by_lag, span


def falling(rate: float, lags: int = 60) -> torch.Tensor:
    return torch.exp(rate * torch.arange(lags, dtype=torch.float64))


@pytest.mark.parametrize("rate", [-0.4, -0.01, 0.0, 0.03, 1.0])
def test_an_exponential_has_its_rate(rate: float):
    """R² is 1, for norms between 1e-25 and 1e27."""
    found, r_squared = growth_rate(falling(rate))
    assert found == pytest.approx(rate, abs=1e-12)
    assert r_squared == pytest.approx(1.0)


def test_the_fit_is_least_squares_of_the_logarithm():
    """Rate and R² match numpy's fit without the first four lags."""
    rng = np.random.default_rng(0)
    norms = np.exp(-0.05 * np.arange(80) + 0.5 * rng.standard_normal(80))
    norms[:4] = 1e9
    lags, logs = np.arange(4, 80), np.log(norms[4:])
    slope, start = np.polyfit(lags, logs, 1)
    r_squared = 1 - np.sum((logs - slope * lags - start) ** 2) / np.sum((logs - logs.mean()) ** 2)
    assert growth_rate(torch.tensor(norms)) == pytest.approx((slope, r_squared))


def test_norms_that_are_too_small_or_not_finite_are_left_out():
    """A gradient that underflows or overflows does not bend the line."""
    norms = falling(-2.0, lags=60)
    norms[40:] = 1e-40
    norms[7], norms[9], norms[11] = math.nan, math.inf, 0.0
    assert growth_rate(norms) == pytest.approx((-2.0, 1.0))


@pytest.mark.parametrize("norms", [[1.0, 0.5], [1.0] * 6, [0.0] * 50, [math.nan] * 50, [1.0, 1e-9] + [1e-30] * 50])
def test_too_few_norms_have_no_rate(norms: list[float]):
    """Rate and R² are NaN."""
    assert all(math.isnan(value) for value in growth_rate(torch.tensor(norms)))


def test_a_gradient_that_does_not_vanish_has_no_half_life():
    """The half-life is infinite, also if the rate is NaN."""
    assert half_life(-math.log(2)) == pytest.approx(1.0)
    assert half_life(0.0) == half_life(0.3) == half_life(math.nan) == math.inf


@pytest.mark.parametrize(
    ("norms", "far", "wide"),
    [
        ([1.0] * 10, 9, 9),
        ([1.0] + [0.0] * 9, 0, 0),
        ([0.0] * 10, 0, 0),
        ([1.0, 0.02, 0.009, 0.02, 0.005], 3, 3),
        ([1e27] + [1e20] * 9, 0, 0),
        ([1e-300] * 10, 9, 9),
        ([1e300] * 10, 9, 9),
        ([1.0, 1.0, math.inf, 1.0], 3, 2),
        ([1.0, 0.001, math.nan], 2, 2),
        ([0.0, 0.0, 0.5, 0.0], 2, 2),
    ],
)
def test_horizon_and_span(norms: list[float], far: int, wide: int):
    """They are the last lag above 1% of the first norm, and the first lag that reaches 99% of the sum."""
    values = torch.tensor(norms, dtype=torch.float64)
    assert (horizon(values), span(values)) == (far, wide)


def test_squares_of_large_gradients_do_not_overflow():
    """Gradients with elements of 1e27 have finite norms and a growth rate."""
    gradients = 1e27 * falling(-0.1)[:, None, None].float().expand(60, 2, 8)
    norms = norms_by_lag(gradients)
    assert norms[0] == pytest.approx(4e27)
    assert norms.dtype == torch.float64
    assert growth_rate(norms)[0] == pytest.approx(-0.1, abs=1e-6)
