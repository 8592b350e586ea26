"""`mackey_glass`: the equation, and its chaos."""

import numpy as np
import pytest

from lightning_clip.datamodules.mackey_glass import mackey_glass


def test_it_solves_the_equation():
    """The values equal those of a plain loop over Euler steps of 0.1."""
    x = np.full(200_000, 1.2)
    for i in range(171, 171 + 5300):
        x[i] = x[i - 1] + 0.1 * (0.2 * x[i - 171] / (1 + x[i - 171] ** 10) - 0.1 * x[i - 1])
    np.testing.assert_allclose(mackey_glass(30), x[170 + 5000 : 170 + 5300 : 10], rtol=1e-12)


def test_it_is_chaotic_with_its_usual_delay_only():
    """With a delay of 2 the series settles; with 17 it stays irregular within bounds."""
    usual, calm = mackey_glass(3000), mackey_glass(3000, delay=2.0)
    assert usual.shape == (3000,)
    assert 0.35 < usual.min() < 0.6
    assert 1.2 < usual.max() < 1.45
    assert np.ptp(calm[-100:]) < 1e-3
    assert np.ptp(usual[-100:]) > 0.5


def test_one_value_a_unit():
    """A longer series starts with the shorter one."""
    assert mackey_glass(50)[:20] == pytest.approx(mackey_glass(20), abs=0)
