import numpy as np
import pytest
import torch

from lightning_clip.core.state import SkipBudget


def taken(budget: SkipBudget, wanted: np.ndarray) -> list[int]:
    """The numbers, from 1, of the steps that were skipped."""
    yes = torch.tensor(True)
    return [step for step, want in enumerate(wanted, start=1) if bool(budget.take(torch.tensor(bool(want)), yes))]


@pytest.mark.parametrize("fraction", [0.01, 0.03, 1 / 3, 0.5, 1.0])
def test_at_no_time_more_than_the_fraction_is_skipped(fraction):
    """The bound holds after every step, whenever skips are wanted."""
    wanted = np.random.default_rng(0).random(3000) < 0.3
    wanted[1000:1400] = False
    skipped = taken(SkipBudget(fraction, burst=5), wanted)
    assert skipped
    assert all(number <= fraction * step * (1 + 1e-9) for number, step in enumerate(skipped, start=1))


def test_a_long_quiet_time_does_not_pay_for_a_long_gap():
    """After 10,000 quiet steps, five steps in a row may be skipped, and then one in a hundred."""
    wanted = np.arange(11_000) >= 10_000
    assert taken(SkipBudget(0.01, burst=5), wanted)[:6] == [10_001, 10_002, 10_003, 10_004, 10_005, 10_101]


def test_a_step_that_does_not_count_earns_nothing():
    """Steps without a usable norm neither count nor are skipped."""
    budget, no, yes = SkipBudget(0.5, burst=1), torch.tensor(False), torch.tensor(True)
    assert [bool(budget.take(yes, no)) for _ in range(5)] == [False] * 5
    assert [bool(budget.take(yes, yes)) for _ in range(4)] == [False, True, False, True]
