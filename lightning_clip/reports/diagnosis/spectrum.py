"""Rules about recurrent weights and units: exploded weights, saturated or dead units, denormal gradients."""

from collections.abc import Iterator

from lightning_clip.core.recurrent.temporal_profile import DENORMAL_FRACTION
from lightning_clip.reports.diagnosis.rule import Finding, Severity
from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.formats import count, listed, number, percent
from lightning_clip.reports.spectrum_summary import Proof

SATURATED_FRACTION = 0.5
"""With a larger share of tanh units beyond ±0.95 little of a gradient gets through."""

DEAD_FRACTION = 0.2
"""A larger share of ReLU units that are never above zero is lost capacity."""


def exploded_weights(evidence: Evidence) -> Iterator[Finding]:
    """Recurrent weights stretch a state by a factor of more than a hundred."""
    spectrum = evidence.spectrum
    found = [block for block in spectrum.blocks if block.proof is Proof.EXPLODED] if spectrum else []
    if spectrum and found:
        worst = max(found, key=lambda block: block.sigma_max[1])
        began, now = worst.sigma_max
        names = list(dict.fromkeys(block.weights for block in found))
        yield Finding(
            Severity.CRITICAL,
            f"The recurrent weights exploded: σ max of {worst.weights} is {number(now)}",
            f"It was {number(began)} at step {count(spectrum.steps[0])}. {listed(names)}: steps were so long that the "
            "weights lost what they had learned. Gradients that look calm now come from saturated or dead units.",
            "Start over, from an earlier checkpoint or from scratch, with GradientClipping(NormClip(1.0)) or a "
            "learning rate 3 to 10 times lower.",
            kind="exploded-weights",
        )


def saturated_units(evidence: Evidence) -> Iterator[Finding]:
    """Most of the states of a tanh layer are at its ends."""
    found = _above(evidence, "saturated_fraction", SATURATED_FRACTION)
    if found:
        yield Finding(
            Severity.WARNING,
            f"{percent(max(found.values()))} of the states are saturated: beyond ±0.95",
            f"{listed(list(found))}: the slope of tanh is below 0.1 there, so gradients vanish.",
            "Scale the inputs, start with smaller or orthogonal recurrent weights, clip, or lower the learning rate; "
            "LayerNormRNN keeps units in range.",
            kind="saturated-units",
        )


def dead_units(evidence: Evidence) -> Iterator[Finding]:
    """ReLU units never become active."""
    found = _above(evidence, "dead_fraction", DEAD_FRACTION)
    if found:
        yield Finding(
            Severity.WARNING,
            f"{percent(max(found.values()))} of the recurrent ReLU units are dead: 0 at every step of every sequence",
            f"{listed(list(found))}: such a unit has no gradient and does not recover by itself.",
            "Clip or lower the learning rate, or start with identity weights and zero biases.",
            kind="dead-units",
        )


def denormal_gradients(evidence: Evidence) -> Iterator[Finding]:
    """Gradients are so small that a CPU computes them slowly."""
    spectrum = evidence.spectrum
    if spectrum is None or spectrum.device != "cpu":
        return
    found = {name: share for name, share in spectrum.denormal.items() if share > DENORMAL_FRACTION}
    if found:
        yield Finding(
            Severity.WARNING,
            f"{percent(max(found.values()))} of a gradient is denormal: it vanishes, and may slow down the CPU",
            f"{listed([name or 'the layer' for name in found])}: on its way back in time the gradient falls below "
            "1.18e-38, where float32 loses precision and many CPUs take several times as long.",
            "torch.set_flush_denormal(True) before the fit sets such numbers to zero: depending on the CPU, a backward "
            "pass runs up to 7 times faster or as before. For sequences this long, use an LSTM with a larger forget "
            "bias, or shorter chunks.",
            kind="denormal",
        )


def _above(evidence: Evidence, share: str, limit: float) -> dict[str, float]:
    units = evidence.spectrum.units if evidence.spectrum else {}
    return {name: unit[share] for name, unit in units.items() if unit.get(share, 0.0) > limit}
