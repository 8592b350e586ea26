"""`TemporalProfile`: how the gradient of a late loss falls or grows with lag, and what that means."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from torch import Tensor

from lightning_clip.core.record.measurements import Measurement, Measurements
from lightning_clip.functional.temporal import growth_rate, half_life, horizon, span

TEMPORAL_GRADIENT = "temporal-gradient"
"""The kind of these measurements."""

EXPLODING_RATE = 0.02
"""Growth per step above which a gradient explodes: e-fold in 50 steps."""

TRUSTED_R_SQUARED = 0.8
"""How well one rate must fit, R², to be called explosion."""

PEAK_FACTOR = 100.0
"""A largest norm so many times that of earlier profiles is an explosion, whatever the rate."""

REACHED_FRACTION = 0.25
"""A gradient that falls to 1 % within a smaller part of the window vanishes."""

DENORMAL_FRACTION = 0.01
"""A larger share of denormal elements is a gradient that vanishes."""

CHUNK_FACTORS = (2, 3)
"""A chunk should be so many times the span."""


class Flow(StrEnum):
    """What a profile means."""

    EXPLODING = "exploding"
    VANISHING = "vanishing"
    HEALTHY = "healthy"


@dataclass(frozen=True, slots=True)
class TemporalProfile:
    """The gradient of a loss at the last step only, by lag: how many steps before.

    Attributes:
        step: The number of optimizer steps completed before it.
        layer: Dotted name of the recurrent layer.
        cell: What it is made of, as torch's layers name their `mode`: `"RNN_TANH"`, `"RNN_RELU"`, `"LSTM"`, `"GRU"`.
        norms: 2-norm at each lag; only their ratios mean something.
        growth_rate: Slope of the norm's logarithm over lag, per step; NaN where too few norms can be told.
        r_squared: How well one rate fits, in [0, 1].
        horizon: The largest lag whose norm is above 1 % of that at lag 0, in steps.
        span: The lag up to which the norms add up to 99 % of their sum, in steps.
        denormal_fraction: Share of the elements that are denormal in single precision.
        peak_ratio: Largest norm over the median of that of earlier profiles; NaN where there are too few.
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
        """Make a profile of what was measured.

        Args:
            step: The number of optimizer steps completed before it.
            layer: Dotted name of the recurrent layer.
            norms: `(lags,)`, on the host.
            cell: The layer's `mode`.
            denormal_fraction: Share of the elements that are denormal.
            usual_peak: Median largest norm of earlier profiles; NaN where there are too few.

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
        """Read a measurement that `to_measurement` made."""
        data: dict[str, Any] = {name: measurement.data[name] for name in cls.__dataclass_fields__ if name != "step"}
        whole = {name: int(data[name]) for name in ("horizon", "span")}
        return cls(step=measurement.step, **data | whole | {"norms": tuple(data["norms"])})

    @property
    def window(self) -> int:
        """How many lags were looked at."""
        return len(self.norms)

    @property
    def peak(self) -> float:
        """The largest norm; not finite where one is not."""
        return max(self.norms, key=lambda norm: norm if math.isfinite(norm) else math.inf)

    @property
    def is_finite(self) -> bool:
        """Whether every norm is."""
        return math.isfinite(self.peak)

    @property
    def is_gated(self) -> bool:
        """Whether the layer has gates that decide how long it remembers."""
        return not self.cell.startswith("RNN")

    @property
    def half_life(self) -> float:
        """Steps over which the gradient halves; infinite where it does not vanish."""
        return half_life(self.growth_rate)

    @property
    def grows(self) -> bool:
        """Whether the norm grows with lag, at one rate."""
        return self.growth_rate > EXPLODING_RATE and self.r_squared > TRUSTED_R_SQUARED

    @property
    def flow(self) -> Flow:
        """What it means."""
        if not self.is_finite or self.grows or self.peak_ratio > PEAK_FACTOR:
            return Flow.EXPLODING
        if self.horizon < REACHED_FRACTION * self.window or self.denormal_fraction > DENORMAL_FRACTION:
            return Flow.VANISHING
        return Flow.HEALTHY

    @property
    def has_weak_rest(self) -> bool:
        """Whether much of the gradient, though less than 1 % of lag 0 at each lag, comes from beyond the horizon."""
        return self.span >= REACHED_FRACTION * self.window > self.horizon

    @property
    def chunk_steps(self) -> tuple[int, int] | None:
        """The least and the most steps a chunk of truncated backpropagation should have, by what it would lose.

        `None` where the window is too short to tell, or where the gradient explodes.
        """
        least, most = (factor * max(1, self.span) for factor in CHUNK_FACTORS)
        return (least, most) if self.flow is not Flow.EXPLODING and least <= self.window else None

    def to_measurement(self) -> Measurement:
        """The profile as plain numbers, with what it means."""
        data: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "step"}
        more = {"norms": list(self.norms), "half_life": self.half_life, "verdict": self.flow.value}
        return Measurement(self.step, TEMPORAL_GRADIENT, data | more)


def temporal_profiles(measurements: Measurements) -> dict[str, list[TemporalProfile]]:
    """The profiles of a run, in order, by the name of the layer.

    Args:
        measurements: Of the run.
    """
    profiles: dict[str, list[TemporalProfile]] = {}
    for measurement in measurements.of(TEMPORAL_GRADIENT):
        profile = TemporalProfile.of_measurement(measurement)
        profiles.setdefault(profile.layer, []).append(profile)
    return profiles
