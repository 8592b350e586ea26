import io
from copy import deepcopy

import numpy as np
import pytest
import torch

from lightning_clip.core.state import QuantileSketch

YES, NO = torch.tensor(True), torch.tensor(False)
FRACTIONS = (0.0, 0.1, 0.5, 0.9, 0.99, 1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_quantiles_stay_within_the_stated_error_over_20000_values(dtype):
    """Quantiles are exact up to 1,024 values and within 0.55% later, with heavy tails and a 100-fold drift.

    In float32, the position between two neighbors is known to 1e-5 of their distance, which may be large in a tail.
    """
    noise = np.random.default_rng(0).standard_t(2, 20_000)
    values = np.exp(np.linspace(0.0, np.log(100.0), 20_000) + noise.clip(-20, 20))
    if dtype == torch.float32:
        values = values.astype(np.float32).astype(np.float64)
    sketch = QuantileSketch()
    for n, value in enumerate(torch.tensor(values, dtype=dtype).unbind(), start=1):
        sketch.push(value, YES)
        if n in (1, 100, 1024, 1025, 1500, 5000, 20_000):
            tolerance = 0.0055 if n > 1024 else 1e-12 if dtype == torch.float64 else 1e-3
            for fraction in FRACTIONS:
                assert float(sketch.quantile(fraction)) == pytest.approx(
                    np.quantile(values[:n], fraction), rel=tolerance
                ), (n, fraction)


def test_an_interpolated_quantile_between_two_clusters_is_exact_enough():
    """Between two neighbors a factor of 1,000 apart, interpolation matches numpy."""
    values = [1.0] * 600 + [1000.0] * 601
    sketch = QuantileSketch()
    for value in values:
        sketch.push(torch.tensor(value, dtype=torch.float64), YES)
    fraction = 599.25 / 1200
    assert float(sketch.quantile(fraction)) == pytest.approx(np.quantile(values, fraction), rel=0.0055)


def test_values_beyond_its_range_count_at_its_ends():
    """Values below 2^-64 and above 2^64 count in the outermost bins."""
    sketch = QuantileSketch()
    for value in [1e-30] * 600 + [1e30] * 600:
        sketch.push(torch.tensor(value, dtype=torch.float64), YES)
    assert float(sketch.quantile(0.2)) == pytest.approx(2.0**-64, rel=0.01)
    assert float(sketch.quantile(0.8)) == pytest.approx(2.0**64, rel=0.01)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0, 5.0])
def test_what_is_not_to_be_kept_changes_nothing(bad):
    """Neither the latest values nor the counts change."""
    sketch = QuantileSketch()
    sketch.push(torch.tensor(bad), NO)
    assert np.isnan(sketch.quantile(0.5))
    sketch.push(torch.tensor(2.0), YES)
    sketch.push(torch.tensor(bad), NO)
    assert int(sketch.counts.sum()) == int(sketch.count) == 1
    assert float(sketch.quantile(0.9)) == 2.0


def test_a_restored_sketch_goes_on_the_same():
    """This holds on both sides of the 1,024th value."""
    for n in (10, 1030):
        sketch = QuantileSketch()
        for value in torch.rand(n, dtype=torch.float64):
            sketch.push(value, YES)
        file = io.BytesIO()
        torch.save(sketch.state_dict(), file)
        file.seek(0)
        restored = QuantileSketch()
        restored.load_state_dict(torch.load(file, weights_only=True))
        for s in (sketch, restored):
            s.push(torch.tensor(0.3, dtype=torch.float64), YES)
        assert restored.quantile(0.37) == sketch.quantile(0.37)
        assert restored.quantile(0.37).dtype == np.float64


def test_a_sketch_whose_counts_were_changed_from_outside_reads_them_again():
    """A loaded checkpoint and a change in place are seen, and a copy does not share its sums."""
    sketch, other = QuantileSketch(), QuantileSketch()
    for value in range(1, 1101):
        sketch.push(torch.tensor(float(value)), YES)
        other.push(torch.tensor(1000.0 * value), YES)
    copied, low = deepcopy(sketch), float(sketch.quantile(0.5))
    copied.push(torch.tensor(1e6), YES)
    assert float(sketch.quantile(1.0)) < 2000 < float(copied.quantile(1.0))
    sketch.load_state_dict(other.state_dict())
    assert float(sketch.quantile(0.5)) == pytest.approx(1000 * low, rel=0.02)
    sketch.counts.copy_(copied.counts)
    assert float(sketch.quantile(0.5)) == pytest.approx(low, rel=0.02)
