import io

import numpy as np
import pytest
import torch

from lightning_clip.core.record.histogram import LogHistogram

FRACTIONS = [0.0, 0.001, 0.1, 0.5, 0.9, 0.999, 1.0]


@pytest.mark.parametrize("bins_per_octave", [8, 32, 256])
@pytest.mark.parametrize("sigma", [0.1, 1.0, 10.0])
def test_quantiles_are_within_half_a_bin_of_those_of_numpy(bins_per_octave, sigma):
    """The relative error is at most 2 ** (1 / (2 · bins per octave)) - 1, over many orders of magnitude."""
    values = np.random.default_rng(0).lognormal(sigma=sigma, size=3000)
    histogram = LogHistogram(bins_per_octave=bins_per_octave)
    histogram.add(values[None])
    exact = np.quantile(values, FRACTIONS, method="lower")
    accuracy = 2 ** (1 / (2 * bins_per_octave)) - 1
    np.testing.assert_allclose(histogram.quantiles(FRACTIONS)[:, 0], exact, rtol=accuracy * 1.0001)


def test_the_documented_accuracy_holds():
    """256 bins per octave give an accuracy of 0.14%."""
    assert 2 ** (1 / 512) - 1 < 0.0014


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_few_numbers_have_the_ranks_of_numpy(n):
    """Quantiles of a few numbers use the nearest rank from below."""
    values = 2.0 ** np.arange(n)
    histogram = LogHistogram()
    histogram.add(values[None])
    exact = np.quantile(values, FRACTIONS, method="lower")
    np.testing.assert_allclose(histogram.quantiles(FRACTIONS)[:, 0], exact, rtol=0.0014)


def test_zeros_have_their_own_bin():
    """Zeros are counted and returned as zero."""
    histogram = LogHistogram()
    histogram.add([[0.0, 0.0, 0.0, 8.0]])
    assert histogram.quantiles([0.5])[0, 0] == 0.0
    assert histogram.quantiles([1.0])[0, 0] == pytest.approx(8.0, rel=0.0014)


def test_non_finite_numbers_are_ignored():
    """NaN and infinity go into no bin."""
    histogram = LogHistogram()
    histogram.add([[np.nan, np.inf, 2.0]])
    assert histogram.counts.sum() == 1


def test_numbers_outside_the_range_go_to_the_ends():
    """Numbers outside the octaves are counted in the end bins."""
    histogram = LogHistogram(octaves=(-2, 2))
    histogram.add([[1e-9, 1.0, 1e9]])
    assert histogram.counts.sum() == 3
    assert histogram.quantiles([0.0])[0, 0] == 0.0


def test_series_are_counted_independently():
    """Each row has its own quantiles; those of an empty row are NaN."""
    histogram = LogHistogram(2)
    histogram.add([[1.0, 1.0], [16.0, np.nan]])
    histogram.add_rows(1)
    quantiles = histogram.quantiles([0.5])[0]
    np.testing.assert_allclose(quantiles[:2], [1.0, 16.0], rtol=0.0014)
    assert np.isnan(quantiles[2])


def test_memory_is_constant():
    """Memory for a million numbers depends only on the octaves that they cover."""
    histogram = LogHistogram()
    histogram.add([[1e-3, 1e3]])
    size = histogram.counts.nbytes
    histogram.add(np.random.default_rng(0).lognormal(size=(1, 1_000_000)))
    assert histogram.counts.nbytes == size < 30_000


def test_memory_grows_at_either_end():
    """Numbers smaller or larger than all before, and zeros among them, are counted correctly."""
    values = np.array([1.0, 1e-6, 1e6, 0.0, 1e-9, 1e9])
    histogram = LogHistogram()
    for value in values:
        histogram.add([[value]])
    exact = np.quantile(values, FRACTIONS, method="lower")
    np.testing.assert_allclose(histogram.quantiles(FRACTIONS)[:, 0], exact, rtol=0.0014)


def test_a_round_trip_through_a_file_keeps_every_count():
    """The state loads with `weights_only=True` and holds only the bins in use."""
    histogram, restored = LogHistogram(2), LogHistogram(2)
    histogram.add(np.random.default_rng(0).lognormal(size=(2, 100)))
    file = io.BytesIO()
    torch.save(histogram.state_dict(), file)
    assert file.tell() < 20_000
    file.seek(0)
    restored.load_state_dict(torch.load(file, weights_only=True))
    assert np.array_equal(restored.counts, histogram.counts)
    restored.add([[1.0], [1.0]])
    assert restored.counts.sum() == histogram.counts.sum() + 2
