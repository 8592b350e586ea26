"""The verdict on a gradient by lag."""

import io
import math

import pytest
import torch

from lightning_clip.core import History, Measurement
from lightning_clip.core.recurrent.temporal_profile import Flow, TemporalProfile, temporal_profiles


def profile(norms: torch.Tensor, *, denormal: float = 0.0, usual: float = math.nan, layer: str = "rnn"):
    return TemporalProfile.of_norms(7, layer, norms, cell="LSTM", denormal_fraction=denormal, usual_peak=usual)


def exponential(rate: float, lags: int = 100) -> torch.Tensor:
    return torch.exp(rate * torch.arange(lags, dtype=torch.float64))


@pytest.mark.parametrize(
    ("rate", "flow"),
    [
        (0.5, Flow.EXPLODING),
        (0.021, Flow.EXPLODING),
        (0.019, Flow.HEALTHY),
        (0.0, Flow.HEALTHY),
        (-0.18, Flow.HEALTHY),
        (-0.19, Flow.VANISHING),
        (-3.0, Flow.VANISHING),
    ],
)
def test_the_rate_decides(rate: float, flow: Flow):
    """Growth above 0.02 per step explodes; a fall to 1% within a quarter of 100 steps vanishes."""
    assert profile(exponential(rate)).flow is flow


def test_growth_without_a_constant_rate_is_no_explosion():
    """A fit with an R² of at most 0.8 is not trusted."""
    noise = torch.randn(100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = profile(exponential(0.025) * noise.exp())
    assert found.growth_rate > 0.02
    assert found.r_squared < 0.8
    assert found.flow is Flow.HEALTHY


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_non_finite_norm_is_an_explosion(bad: float):
    """A NaN or infinite norm at any lag is an explosion, and the peak is not finite either."""
    norms = exponential(-1.0)
    norms[50] = bad
    found = profile(norms)
    assert found.flow is Flow.EXPLODING
    assert not found.is_finite
    assert not math.isfinite(found.peak)


def test_a_norm_far_above_the_usual_one_is_an_explosion():
    """A peak above 100 times the usual peak is an explosion, whatever the growth rate."""
    assert profile(exponential(0.0), usual=0.0101).flow is Flow.HEALTHY
    assert profile(exponential(0.0), usual=0.0099).flow is Flow.EXPLODING
    assert math.isnan(profile(exponential(0.0)).peak_ratio)


def test_denormal_numbers_mean_a_vanishing_gradient():
    """More than 1% denormal elements count as vanishing."""
    assert profile(exponential(-0.01), denormal=0.009).flow is Flow.HEALTHY
    assert profile(exponential(-0.01), denormal=0.011).flow is Flow.VANISHING


def test_a_chunk_of_two_to_three_times_the_span_is_recommended():
    """There is no recommendation if the window is too short or the gradient explodes, and it is never 0 steps."""
    assert profile(exponential(-0.2)).span == 23
    assert profile(exponential(-0.2)).chunk_steps == (46, 69)
    assert profile(exponential(-20.0)).chunk_steps == (2, 3)
    assert profile(exponential(-0.01)).chunk_steps is None
    assert profile(exponential(0.1)).chunk_steps is None


def test_a_weak_rest_is_detected():
    """It is present only if much of the summed norm comes from beyond the horizon."""
    assert profile(exponential(-1.5) + 0.004 * exponential(-0.02)).has_weak_rest
    assert not profile(exponential(-1.5)).has_weak_rest
    assert not profile(exponential(-0.01)).has_weak_rest


def test_a_profile_is_read_back_from_the_record():
    """Profiles saved with the history are restored by layer and in order; other kinds are ignored."""
    history, again = History(), History()
    made = [profile(exponential(rate), usual=2.0, layer=layer) for rate, layer in ((0.1, "a"), (-0.1, "b"), (0.0, "a"))]
    for one in made:
        history.measurements.add(one.to_measurement())
    history.measurements.add(Measurement(0, "spectrum", {"layer": "a"}))
    file = io.BytesIO()
    torch.save(history.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    assert temporal_profiles(again.measurements) == {"a": [made[0], made[2]], "b": [made[1]]}


def test_the_measurement_contains_the_verdict():
    """Someone who reads the file without this package sees the verdict and the half-life."""
    measurement = profile(exponential(-0.1)).to_measurement()
    assert (measurement.step, measurement.kind, measurement.data["verdict"]) == (7, "temporal-gradient", "healthy")
    assert measurement.data["half_life"] == pytest.approx(math.log(2) / 0.1)
