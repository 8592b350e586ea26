"""Chunk lengths: fixed, normally distributed, and randomly truncated."""

import numpy as np
import pytest

from lightning_clip.datamodules import FixedLengths, NormalLengths, RandomTruncation

LAWS = [FixedLengths(), NormalLengths(), RandomTruncation(0.3), RandomTruncation(0.1, max_multiple=3)]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
@pytest.mark.parametrize("total", [1, 7, 8, 9, 1000, 12_345])
def test_chunks_fill_a_stream(law, total):
    """Chunks add up to the stream, have at least one step each, and only the last one is cut."""
    for seed in range(5):
        lengths = law.cut(rng(seed), 8, total)
        assert lengths.sum() == total
        assert lengths.min() >= 1
        drawn = law.cut(rng(seed), 8, 10 * total + 1000)[: len(lengths) - 1]
        assert len(lengths) == 1 or law.is_random or (lengths[:-1] == drawn).all()


def test_fixed_lengths_are_all_alike():
    """All fixed lengths are equal except the last."""
    assert FixedLengths().cut(rng(), 8, 27).tolist() == [8, 8, 8, 3]


def test_normal_lengths_have_their_mean_spread_and_share():
    """Lengths are distributed as in AWD-LSTM: around 70 with std 5, and 5% around 35."""
    lengths = NormalLengths().draw(rng(), 70, 20_000)
    short = lengths < 52
    assert 0.045 < short.mean() < 0.055
    assert lengths[~short].mean() == pytest.approx(69.5, abs=0.3)  # rounded down
    assert lengths[~short].std() == pytest.approx(5, abs=0.5)
    assert lengths[short].mean() == pytest.approx(34.5, abs=0.5)
    assert lengths.max() <= 80


def test_normal_lengths_have_a_shortest_chunk():
    """`min_steps` holds for any standard deviation."""
    lengths = NormalLengths(50.0, min_steps=4).draw(rng(), 10, 1000)
    assert lengths.min() == 4
    assert lengths.max() == 110


def test_half_of_the_length_is_as_frequent_as_is_said():
    """`half_fraction` of 0 and 1 give no and only half lengths."""
    assert NormalLengths(0.0, half_fraction=0.0).draw(rng(), 20, 50).tolist() == [20] * 50
    assert NormalLengths(0.0, half_fraction=1.0).draw(rng(), 20, 50).tolist() == [10] * 50


@pytest.mark.parametrize("c", [0.1, 0.5, 0.9])
def test_random_truncation_cuts_at_each_place_with_its_probability(c):
    """Cuts are independent, each with the given probability."""
    cuts = np.zeros((4000, 9), dtype=bool)
    for seed, row in enumerate(cuts):
        edges = RandomTruncation(c).cut(rng(seed), 8, 80).cumsum()[:-1]
        assert not (edges % 8).any()
        row[edges // 8 - 1] = True
    assert np.abs(cuts.mean(axis=0) - c).max() < 0.03
    assert np.abs(np.corrcoef(cuts.T) - np.eye(9)).max() < 0.07


def test_messages_are_scaled_by_the_chance_of_having_come_through():
    """The scale is `1 / (1 - c)`, and 1 without random cuts."""
    assert RandomTruncation(0.75).message_scale == 4.0
    assert FixedLengths().message_scale == NormalLengths().message_scale == 1.0


def test_random_truncation_may_be_bounded():
    """`max_multiple` bounds the length, in multiples of the nominal length."""
    assert RandomTruncation(0.05, max_multiple=3).draw(rng(), 8, 500).max() == 24
    assert RandomTruncation(0.05).draw(rng(), 8, 500).max() > 24


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: NormalLengths(-1.0), ValueError, r"NormalLengths\(std=-1\.0\): std must be a number of at least 0"),
        (lambda: NormalLengths(float("nan")), ValueError, "std must be a number of at least 0"),
        (lambda: NormalLengths(min_steps=0), ValueError, r"min_steps=0\): min_steps must be at least 1"),
        (lambda: NormalLengths(min_steps=1.5), TypeError, "min_steps must be a whole number"),
        (lambda: NormalLengths(half_fraction=1.5), ValueError, "half_fraction must be a number between 0 and 1"),
        (lambda: RandomTruncation(0.0), ValueError, r"cut_probability=0\.0\): cut_probability must be above 0 and bel"),
        (lambda: RandomTruncation(1.0), ValueError, "cut_probability must be above 0 and below 1"),
        (lambda: RandomTruncation(max_multiple=0), ValueError, "max_multiple must be at least 1"),
    ],
)
def test_bad_arguments(make, error, message):
    """Bad arguments raise an error with the call and the rule."""
    with pytest.raises(error, match=message):
        make()
