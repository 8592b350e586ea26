import numpy as np
import pytest
import torch

from lightning_clip.core.state import FirstValues

YES, NO = torch.tensor(True), torch.tensor(False)


def filled(size: int, values: np.ndarray) -> FirstValues:
    first = FirstValues(size)
    for value in values:
        first.push(torch.tensor(value, dtype=torch.float64), YES)
    return first


@pytest.mark.parametrize("size", [1, 2, 9, 10])
def test_its_statistics_are_order_statistics_of_the_first_values(size):
    """Later values change nothing."""
    values = np.random.default_rng(0).lognormal(size=30)
    first, kept = filled(size, values), np.sort(values[:size])
    assert first.kept().tolist() == values[:size].tolist()
    for fraction in (0.0, 0.5, 0.9, 1.0):
        assert float(first.quantile(fraction)) == np.quantile(kept, fraction, method="lower")
    median, mad = first.median_and_mad()
    assert float(median) == kept[(size - 1) // 2]
    assert float(mad) == np.sort(np.abs(kept - float(median)))[(size - 1) // 2]


def test_it_is_full_after_its_size_of_kept_values():
    """Values that are not kept do not count."""
    first = FirstValues(2)
    full = []
    for value, keep in ((1.0, YES), (float("nan"), NO), (float("inf"), NO), (2.0, YES), (3.0, YES)):
        first.push(torch.tensor(value), keep)
        full.append(bool(first.full()))
    assert full == [False, False, False, True, True]
    assert first.kept().tolist() == [1.0, 2.0]
    assert first.values.isfinite().all()


def test_a_checkpoint_brings_its_own_size():
    """A finished warmup stays finished when a resumed run asks for a longer one."""
    first = FirstValues(9)
    first.load_state_dict(filled(4, np.arange(1.0, 6.0)).state_dict())
    first.push(torch.tensor(9.0, dtype=torch.float64), YES)
    assert bool(first.full())
    assert first.kept().tolist() == [1.0, 2.0, 3.0, 4.0]
    assert first.values.dtype == torch.float64
