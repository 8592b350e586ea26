import numpy as np
import pytest

from lightning_clip.core.state.cumulative_counts import CumulativeCounts


@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_a_place_is_that_of_a_search_in_the_cumulative_sum(size):
    """At every number, after every increment, with many empty places; and beyond the sum."""
    rng = np.random.default_rng(size)
    counts = rng.integers(0, 3, size)
    ours = CumulativeCounts(counts.tolist())
    for place in rng.integers(0, size, 40).tolist():
        ours.increment(place)
        counts[place] += 1
        below = counts.cumsum()
        for number in range(1, int(below[-1]) + 1):
            expected = int(np.searchsorted(below, number))
            assert ours.find(number) == (expected, number - int(below[expected] - counts[expected]))
        assert ours.find(int(below[-1]) + 1) == (size, 0)
