import numpy as np
import pytest

from lightning_clip.core.state.sorted_values import deviation_at


@pytest.mark.parametrize("distinct", [3, 1000])
def test_each_deviation_is_that_of_a_full_sort(distinct):
    """With ties, with a center inside, between and outside of the values."""
    random = np.random.default_rng(0)
    for size in (1, 2, 3, 8, 9):
        for _ in range(20):
            ordered = sorted(random.integers(0, distinct, size).astype(float).tolist())
            for center in (*ordered, -1.0, distinct + 1.0, float(np.median(ordered))):
                expected = sorted(abs(value - center) for value in ordered)
                assert [deviation_at(ordered, center, place) for place in range(size)] == expected
