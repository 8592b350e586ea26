"""Fractions of saturated, dead and denormal numbers."""

import math

import pytest
import torch

from lightning_clip.functional.unit_states import (
    dead_fraction,
    denormal_fraction,
    saturated_fraction,
    saturated_gate_fraction,
)


def test_saturated_is_beyond_the_limit_on_either_side():
    """A state at the limit is not saturated."""
    states = torch.tensor([0.95, -0.95, 0.951, -0.951, 0.0])
    assert float(saturated_fraction(states.double(), 0.95)) == pytest.approx(0.4)
    assert float(saturated_fraction(states.double(), 0.5)) == pytest.approx(0.8)


def test_a_unit_is_dead_when_no_row_moves_it():
    """One positive state is enough to keep a unit alive."""
    assert float(dead_fraction(torch.tensor([[0.0, 0.0, 1.0, 1e-30], [0.0, 2.0, 1.0, 0.0]]))) == 0.25


def test_gates_count_when_they_are_nearly_closed_or_open():
    """Half-open gates do not count."""
    assert float(saturated_gate_fraction(torch.tensor([0.04, 0.06, 0.94, 0.96]))) == 0.5


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_has_no_share(bad):
    """The fraction is NaN, because NaN compares false and would count as healthy or dead."""
    for share in (saturated_fraction, dead_fraction, saturated_gate_fraction):
        assert math.isnan(share(torch.tensor([[bad, 0.5]])))


@pytest.mark.parametrize(
    ("dtype", "denormal", "normal"),
    [
        (torch.float32, 1e-40, 1.2e-38),
        (torch.float64, 1e-310, 1e-40),
        (torch.bfloat16, 1e-40, 1.2e-38),
        (torch.float16, None, 6e-8),
    ],
    ids=str,
)
def test_denormal_is_below_the_smallest_normal_number_of_the_arithmetic(dtype, denormal, normal):
    """Half precision uses the limit of float32; zero and NaN are not denormal."""
    values = torch.tensor([normal, -normal, 0.0, math.nan], dtype=dtype)
    assert float(denormal_fraction(values)) == 0.0
    if denormal is not None:
        values = torch.tensor([denormal, -denormal, 0.0, 1.0], dtype=dtype)
        assert float(denormal_fraction(values)) == 0.5


def test_denormal_elements_are_counted():
    """Zero and the smallest normal number are not denormal."""
    values = torch.tensor([0.0, 1e-40, -1e-45, 1.1754944e-38, 1.0, math.inf, math.nan, -1e-38])
    assert float(denormal_fraction(values)) == pytest.approx(3 / 8)
