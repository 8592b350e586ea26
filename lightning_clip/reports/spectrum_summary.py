"""`summarize_spectrum`: what a `RecurrentSpectrumMonitor` measured of recurrent weights and units, as numbers."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from lightning_clip.core.record.history import History
from lightning_clip.core.recurrent.spectrum import KIND, SHARES, Data, column, words

EXPLODED_SIGMA = 100.0
"""Training that works does not produce a larger singular value than this."""

AT_THE_BOUND = 0.01
"""A singular value within this fraction of the bound counts as equal to it."""


class Proof(Enum):
    """What the largest singular value of a block says about gradients on their way back in time."""

    NOT_FINITE = "NaN or infinite"
    EXPLODED = "weights exploded"
    NOTHING = "one gate: no proof"
    NO_BOUND = "no bound known"
    VANISHES = "must vanish"
    NO_GROWTH = "cannot explode"
    MAY_EXPLODE = "may explode: no proof"


@dataclass(frozen=True, slots=True)
class Block:
    """The recurrent weights of one gate.

    Attributes:
        weights: Name of the parameter.
        gate: Name of the gate; empty in a plain RNN.
        bound: 1 / max|f'|; NaN if there is none.
        sigma_max: Largest singular value, in the first and in the latest sample.
        spectral_radius: Largest absolute eigenvalue, in the first and in the latest sample.
    """

    weights: str
    gate: str
    bound: float
    sigma_max: tuple[float, float]
    spectral_radius: tuple[float, float]

    @property
    def proof(self) -> Proof:
        """What the latest singular value proves."""
        sigma = self.sigma_max[1]
        if not math.isfinite(sigma):
            return Proof.NOT_FINITE
        if sigma > EXPLODED_SIGMA:
            return Proof.EXPLODED
        if self.gate:
            return Proof.NOTHING
        if math.isnan(self.bound):
            return Proof.NO_BOUND
        if abs(sigma / self.bound - 1) <= AT_THE_BOUND:
            return Proof.NO_GROWTH
        return Proof.VANISHES if sigma < self.bound else Proof.MAY_EXPLODE

    @property
    def half_life(self) -> float | None:
        """Steps after which at most half of a gradient is left, if it provably vanishes; `None` otherwise."""
        if self.proof is not Proof.VANISHES:
            return None
        return halving_steps(self.sigma_max[1] / self.bound)


@dataclass(frozen=True, slots=True)
class SpectrumSummary:
    """The first and the latest sample of a run.

    Attributes:
        steps: Optimizer steps completed before the first and the latest sample.
        device: The device of the weights.
        blocks: The recurrent weights of each gate, depth and direction.
        units: The latest known shares of the units behind each recurrent weight, by its name.
        denormal: The latest share of denormal numbers in the gradient at the input of each layer, where known.
    """

    steps: tuple[int, int]
    device: str
    blocks: list[Block]
    units: dict[str, dict[str, float]]
    denormal: dict[str, float]


def summarize_spectrum(history: History) -> SpectrumSummary | None:
    """Compare the first sample of recurrent weights with the latest.

    Args:
        history: The record of a run.

    Returns:
        The summary; `None` without a `RecurrentSpectrumMonitor`.
    """
    samples = history.measurements.of(KIND)
    if not samples:
        return None
    first, latest = samples[0].data, samples[-1].data
    before = {(weights, gate): (sigma, radius) for weights, gate, _, sigma, radius in _blocks(first)}
    unknown = (math.nan, math.nan)
    blocks = []
    for weights, gate, bound, sigma, radius in _blocks(latest):
        sigma_before, radius_before = before.get((weights, gate), unknown)
        blocks.append(Block(weights, gate, bound, (sigma_before, sigma), (radius_before, radius)))
    units: dict[str, dict[str, float]] = {name: {} for name in words(latest, "units")}
    for share in SHARES:
        for name, value in zip(units, column(latest, share), strict=False):
            if not math.isnan(value):
                units[name][share] = value
    return SpectrumSummary(
        steps=(samples[0].step, samples[-1].step),
        device=str(latest.get("device", "")),
        blocks=blocks,
        units=units,
        denormal={
            name: value
            for name, value in zip(words(latest, "layers"), column(latest, "denormal_fraction"), strict=False)
            if not math.isnan(value)
        },
    )


def halving_steps(factor: float) -> float:
    """Steps in which a number halves when it is multiplied by `factor` each step; infinite for factors of 1 or more.

    Example:
        >>> halving_steps(0.5), halving_steps(1.0)
        (1.0, inf)
    """
    if factor <= 0:
        return 0.0
    return math.log(0.5) / math.log(factor) if factor < 1 else math.inf


def _blocks(data: Data) -> Iterable[tuple[str, str, float, float, float]]:
    """Weights, gate, bound, largest singular value and spectral radius of each block."""
    numbers = (column(data, name) for name in ("bounds", "sigma_max", "spectral_radius"))
    return zip(words(data, "weights"), words(data, "gates"), *numbers, strict=False)
