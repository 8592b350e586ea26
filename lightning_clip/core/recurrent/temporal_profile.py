"""`TemporalProfile`: how the gradient of a loss at the last step shrinks or grows with lag, and its verdict."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from torch import Tensor

from lightning_clip.core.record.measurements import Measurement, Measurements
from lightning_clip.functional.temporal import growth_rate, half_life, horizon, span

TEMPORAL_GRADIENT = "temporal-gradient"
"""The kind of the measurements that `TemporalGradientMonitor` takes."""

EXPLODING_RATE = 0.02
"""The growth rate per step above which a gradient explodes: a factor of e in 50 steps."""

TRUSTED_R_SQUARED = 0.8
"""The R² of the fit above which a growth rate is trusted."""

PEAK_FACTOR = 100.0
"""A peak norm this many times that of earlier profiles is an explosion, whatever the growth rate."""

REACHED_FRACTION = 0.25
"""A gradient vanishes if it falls to 1% within less than this fraction of the window."""

DENORMAL_FRACTION = 0.01
"""A gradient vanishes if more than this fraction of its elements is denormal."""

CHUNK_FACTORS = (2, 3)
"""The recommended chunk length of truncated BPTT, as the least and the largest multiple of the span."""


class Flow(StrEnum):
    """The verdict on a profile."""

    EXPLODING = "exploding"
    VANISHING = "vanishing"
    HEALTHY = "healthy"


@dataclass(frozen=True, slots=True)
class TemporalProfile:
    """The gradient norm of a loss at the last step, by lag: the number of steps before the last.

    Attributes:
        step: The number of optimizer steps completed before the profile.
        layer: The dotted name of the recurrent layer.
        cell: The layer's `mode` in torch: `"RNN_TANH"`, `"RNN_RELU"`, `"LSTM"` or `"GRU"`; the class of another module.
        norms: The 2-norm at each lag; only their ratios are meaningful.
        growth_rate: The slope of the logarithm of the norm over lag, per step; NaN if too few norms are usable.
        r_squared: The R² of that fit, in [0, 1].
        horizon: The largest lag whose norm is above 1% of the norm at lag 0, in steps.
        span: The lag up to which the norms add up to 99% of their sum, in steps.
        denormal_fraction: The fraction of elements that are denormal in single precision.
        peak_ratio: The largest norm divided by the median largest norm of earlier profiles; NaN if there are too few.
    """

    step: int
    layer: str
    cell: str
    norms: tuple[float, ...]
    growth_rate: float
    r_squared: float
    horizon: int
    span: int
    denormal_fraction: float
    peak_ratio: float

    @classmethod
    def of_norms(
        cls, step: int, layer: str, norms: Tensor, *, cell: str, denormal_fraction: float, usual_peak: float
    ) -> "TemporalProfile":
        """Create a profile from measured norms.

        Args:
            step: The number of optimizer steps completed before the profile.
            layer: The dotted name of the recurrent layer.
            norms: The norm at each lag, `(lags,)`, on the host.
            cell: The layer's `mode`.
            denormal_fraction: The fraction of elements that are denormal.
            usual_peak: The median largest norm of earlier profiles; NaN if there are too few.

        Returns:
            The profile.
        """
        rate, r_squared = growth_rate(norms)
        return cls(
            step=step,
            layer=layer,
            cell=cell,
            norms=tuple(norms.tolist()),
            growth_rate=rate,
            r_squared=r_squared,
            horizon=horizon(norms),
            span=span(norms),
            denormal_fraction=denormal_fraction,
            peak_ratio=float(norms.max()) / usual_peak if usual_peak > 0 else math.nan,
        )

    @classmethod
    def of_measurement(cls, measurement: Measurement) -> "TemporalProfile":
        """Create a profile from a measurement that `to_measurement` returned."""
        data: dict[str, Any] = {name: measurement.data[name] for name in cls.__dataclass_fields__ if name != "step"}
        whole = {name: int(data[name]) for name in ("horizon", "span")}
        return cls(step=measurement.step, **data | whole | {"norms": tuple(data["norms"])})

    @property
    def window(self) -> int:
        """The number of lags measured."""
        return len(self.norms)

    @property
    def peak(self) -> float:
        """The largest norm; NaN or infinite if any norm is."""
        return max(self.norms, key=lambda norm: norm if math.isfinite(norm) else math.inf)

    @property
    def is_finite(self) -> bool:
        """Whether all norms are finite."""
        return math.isfinite(self.peak)

    @property
    def is_gated(self) -> bool:
        """Whether the layer has gates, like an LSTM or GRU."""
        return self.cell in ("LSTM", "GRU")

    @property
    def half_life(self) -> float:
        """The number of steps over which the gradient halves; infinite if it does not shrink."""
        return half_life(self.growth_rate)

    @property
    def grows(self) -> bool:
        """Whether the norm grows with lag at a constant rate."""
        return self.growth_rate > EXPLODING_RATE and self.r_squared > TRUSTED_R_SQUARED

    @property
    def flow(self) -> Flow:
        """The verdict: exploding, vanishing or healthy."""
        if not self.is_finite or self.grows or self.peak_ratio > PEAK_FACTOR:
            return Flow.EXPLODING
        if self.horizon < REACHED_FRACTION * self.window or self.denormal_fraction > DENORMAL_FRACTION:
            return Flow.VANISHING
        return Flow.HEALTHY

    @property
    def has_weak_rest(self) -> bool:
        """Whether much of the summed norm comes from beyond the horizon, where each norm is below 1% of lag 0."""
        return self.span >= REACHED_FRACTION * self.window > self.horizon

    @property
    def chunk_steps(self) -> tuple[int, int] | None:
        """The recommended range for the chunk length of truncated BPTT, in steps.

        It is `None` if the window is too short to tell or the gradient explodes.
        """
        least, most = (factor * max(1, self.span) for factor in CHUNK_FACTORS)
        return (least, most) if self.flow is not Flow.EXPLODING and least <= self.window else None

    def to_measurement(self) -> Measurement:
        """Return the profile as plain numbers, with its verdict."""
        data: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "step"}
        more = {"norms": list(self.norms), "half_life": self.half_life, "verdict": self.flow.value}
        return Measurement(self.step, TEMPORAL_GRADIENT, data | more)


def temporal_profiles(measurements: Measurements) -> dict[str, list[TemporalProfile]]:
    """Collect the profiles of a run.

    Args:
        measurements: The measurements of the run.

    Returns:
        The profiles by layer name, in order.
    """
    profiles: dict[str, list[TemporalProfile]] = {}
    for measurement in measurements.of(TEMPORAL_GRADIENT):
        profile = TemporalProfile.of_measurement(measurement)
        profiles.setdefault(profile.layer, []).append(profile)
    return profiles
