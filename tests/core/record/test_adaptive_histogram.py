import json

import numpy as np
import pytest

from lightning_clip.core.record.adaptive_histogram import AdaptiveHistogram

FRACTIONS = (0.0, 0.1, 0.5, 0.9, 1.0)


def filled(values: np.ndarray, *, batches: int = 1) -> AdaptiveHistogram:
    histogram = AdaptiveHistogram(len(values))
    for batch in np.array_split(values, batches, axis=1):
        histogram.add(batch)
    return histogram


@pytest.mark.parametrize(
    ("ratio", "bound"), [(1.6, 1.011), (200.0, 1.091), (50_000.0, 1.19), (1e30, 3.0)], ids=lambda x: f"{x:g}"
)
def test_a_quantile_is_in_the_bin_of_the_exact_one(ratio, bound):
    """How wide a bin is depends on the range of the numbers alone, as documented."""
    values = np.exp(np.random.default_rng(0).random((3, 501)) * np.log(ratio))
    found = filled(values).quantiles(FRACTIONS)
    exact = np.quantile(values, FRACTIONS, axis=1, method="lower")
    assert (np.maximum(found / exact, exact / found) <= bound).all()


def test_the_order_and_the_batches_of_the_numbers_do_not_matter():
    """Bins are merged to the same ones whenever the range is the same."""
    values = np.exp(np.random.default_rng(0).normal(size=(4, 300), scale=[[0.01], [0.3], [2.0], [40.0]]))
    states = [filled(v, batches=n).state_dict() for v, n in ((values, 1), (values, 30), (values[:, ::-1], 7))]
    assert states[0] == states[1] == states[2]


def test_zeros_count_and_other_numbers_do_not():
    """Zeros are the smallest numbers; NaN and infinity are ignored, and so is an empty row."""
    histogram = filled(np.array([[0.0, 0.0, 8.0, np.nan, np.inf], [np.nan] * 5]))
    first, empty = histogram.quantiles([0.0, 0.5, 1.0]).T
    assert first[:2].tolist() == [0.0, 0.0]
    assert first[2] == pytest.approx(8.0, rel=0.003)
    assert np.isnan(empty).all()


def test_it_holds_every_float64():
    """The widest range still fits into the bins."""
    histogram = filled(np.array([[5e-324, 1.7e308]]))
    assert histogram.counts.sum() == 2
    assert not filled(np.zeros((2, 0))).counts.any()


def test_rows_join_later():
    """A new series starts empty and does not change the others."""
    histogram = filled(np.array([[1.0, 2.0]]))
    before = histogram.quantiles(FRACTIONS)[:, 0]
    histogram.add_rows(1)
    histogram.add([[np.nan], [5.0]])
    assert histogram.quantiles(FRACTIONS)[:, 0].tolist() == before.tolist()
    assert histogram.quantiles([0.5])[0, 1] == pytest.approx(5.0, rel=0.003)


def test_bytes_grow_with_the_series_and_not_with_the_range():
    """In memory and in a file; a series is never larger than its 64 counts."""
    random = np.random.default_rng(0)
    sizes = []
    for rows, scale in ((100, 0.01), (100, 30.0), (200, 30.0)):
        histogram = filled(np.exp(random.normal(size=(rows, 400), scale=scale)))
        sizes.append(len(json.dumps(histogram.state_dict())))
        assert histogram.counts.nbytes == rows * 64 * 4
    assert sizes[1] < 1.5 * sizes[0]
    assert sizes[2] < 2.1 * sizes[1]
    assert sizes[2] < 200 * 120


def test_a_state_goes_on_the_same():
    """It is plain text, and the counts are those of a histogram that was never saved."""
    values = np.exp(np.random.default_rng(0).normal(size=(3, 80)))
    restored, whole = AdaptiveHistogram(), filled(values)
    restored.load_state_dict(json.loads(json.dumps(filled(values[:, :40]).state_dict())))
    restored.add(values[:, 40:])
    assert restored.state_dict() == whole.state_dict()


def test_a_state_of_the_first_version_is_read():
    """Its bins are bins of this class, so nothing moves; numbers of a wide range are merged."""
    state = {"rows": 3, "row": [0, 0, 1], "bin": [0, 1 + 64 * 32, 1 + 61 * 32], "count": [2, 5, 7]}
    histogram = AdaptiveHistogram()
    histogram.load_state_dict(state)
    first, second, third = histogram.quantiles([0.0, 0.5]).T
    assert first[0] == 0.0
    assert first[1] == pytest.approx(1.0, rel=0.022)
    assert second[1] == pytest.approx(1 / 8, rel=0.022)
    assert np.isnan(third).all()


@pytest.mark.parametrize("table", ["", "not base 64!", "AAAA", 7, AdaptiveHistogram(2).state_dict()["table"]], ids=repr)
def test_a_broken_state_is_refused(table):
    """A text that does not hold the numbers of its rows is an error that says so."""
    with pytest.raises(ValueError, match="table to"):
        AdaptiveHistogram().load_state_dict({"rows": 1, "table": table})


def test_a_series_of_few_numbers_is_exact():
    """Up to 32 numbers, whatever their range, however they are added, and after a save; zeros count."""
    values = 10.0 ** np.random.default_rng(0).integers(-20, 20, size=(2, 31)) * np.arange(1, 32)
    values = np.hstack([values, np.zeros((2, 1))])
    exact = np.sort(values, axis=1)[:, [0, 9, 15, 27, 31]].T
    for batches in (1, 4, 32):
        histogram = AdaptiveHistogram()
        histogram.load_state_dict(json.loads(json.dumps(filled(values, batches=batches).state_dict())))
        np.testing.assert_array_equal(histogram.quantiles([0.0, 0.3, 0.5, 0.9, 1.0]), exact)


def test_few_numbers_that_were_not_kept_are_estimated():
    """A state of an earlier version has no exact numbers, and numbers that are added later do not pretend to be all."""
    state = filled(np.array([[1.0, 2.0, 3.0]])).state_dict()
    assert "few" in state
    histogram = AdaptiveHistogram()
    histogram.load_state_dict({"rows": 1, "table": state["table"]})
    histogram.add([[1e6]])
    assert 1.0 < histogram.quantiles([0.3])[0, 0] != 2.0


def test_a_late_series_of_few_numbers_is_exact_beside_long_ones():
    """A parameter that is unfrozen after thousands of steps."""
    histogram = filled(np.exp(np.random.default_rng(0).normal(size=(1, 100))))
    histogram.add_rows(1)
    histogram.add([[np.nan] * 3, [5.0, 1.0, 1e20]])
    assert histogram.quantiles([0.5])[0, 1] == 5.0


@pytest.mark.parametrize("few", ["not base 64!", "AAAA", 7])
def test_broken_exact_numbers_are_refused(few):
    """The exact numbers come from files, too."""
    state = filled(np.array([[1.0, 2.0, 3.0]])).state_dict()
    with pytest.raises(ValueError, match="few to"):
        AdaptiveHistogram().load_state_dict({**state, "few": few})
