"""`compare_by_seed`: Wilcoxon's signed-rank test."""

import numpy as np
import pytest
from scipy.stats import wilcoxon

from lightning_clip.studies.comparison.paired import compare_by_seed, signed_rank_p


@pytest.mark.parametrize("pairs", [3, 5, 10, 16])
def test_it_is_the_exact_test_of_scipy(pairs):
    """Without ties, the p-value equals scipy's."""
    for seed in range(5):
        differences = np.random.default_rng(seed).normal(0.7, 1.0, pairs)
        assert signed_rank_p(differences) == pytest.approx(wilcoxon(differences, method="exact").pvalue)


def test_many_pairs_are_approximated():
    """Above 16 pairs it is scipy's normal approximation."""
    differences = np.random.default_rng(0).normal(0.3, 1.0, 40)
    expected = wilcoxon(differences, method="approx", correction=False).pvalue
    assert signed_rank_p(differences) == pytest.approx(expected)


def test_only_seeds_that_both_have_are_compared():
    """A run that diverged has no value; equal values count for neither."""
    compared = compare_by_seed({0: 1.0, 1: 5.0, 2: 3.0, 3: 2.0}, {0: 2.0, 1: 5.0, 2: 4.0, 9: 0.0})
    assert (compared.pairs, compared.lower, compared.p_value) == (3, 2, 0.5)
    assert compare_by_seed({0: 1.0}, {1: 2.0}).p_value == 1.0


def test_five_seeds_settle_nothing():
    """The smallest p-value of five pairs is 2 / 32."""
    assert signed_rank_p([1, 2, 3, 4, 5]) == 0.0625
