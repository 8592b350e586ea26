"""`NormSample` collects norms until a run diverges, and suggests a threshold."""

import math

import pytest

from lightning_clip.core.record.norm_sample import NormSample, value_of


def sample(*norms: float) -> NormSample:
    made = NormSample()
    for norm in norms:
        if made.add(norm):
            break
    return made


def test_the_suggestion_has_three_digits_and_keeps_steps_short():
    """The statistic decides unless a step would be too long."""
    made = sample(1.0, 0.0, 2.0, 4.56789)
    assert made.suggestion("p100") == 4.57
    assert made.suggestion("median") == 2.0
    made.step_limit = 0.12345
    assert made.suggestion("p100") == 0.123
    assert sample(0.0).suggestion("mean") is None


@pytest.mark.parametrize(
    ("norms", "diverged", "kept"),
    [
        ([1.0, 1.0, math.nan, 1.0], "became NaN in step 2", 2),
        ([1.0, math.inf], "became infinite in step 1", 1),
        ([1.0, 2.0, 500.0, 600.0, 700.0, 1.0], "the norm exploded from step 2 on, to 700", 2),
        ([1.0, 2.0, 5000.0, 6000.0, 1.0, 1.0], "", 6),
        ([1.0, 10.0, 100.0, 90.0, 80.0], "", 5),
    ],
    ids=["nan", "infinite", "explosion", "spikes", "growth"],
)
def test_a_divergence_ends_the_sample(norms, diverged, kept):
    """NaN, infinity, or three norms in a row a hundred times above the median; two are spikes."""
    made = sample(*norms)
    assert diverged in made.diverged
    assert bool(made.diverged) == bool(diverged)
    assert len(made.norms) == kept


def test_statistics():
    """Percentiles may have decimals."""
    assert value_of("p12.5", list(range(9))) == 1.0
