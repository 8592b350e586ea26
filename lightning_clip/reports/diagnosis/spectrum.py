"""Rules about recurrent weights and units: exploded, saturated, dead, slow for want of precision."""

from lightning_clip.core.record.history import History
from lightning_clip.reports.diagnosis.rule import Finding, Severity
from lightning_clip.reports.formats import count, listed, number, percent
from lightning_clip.reports.spectrum_summary import Proof, SpectrumSummary, summarize_spectrum

SATURATED_FRACTION = 0.5
"""With a larger share of tanh units beyond ±0.95 little of a gradient gets through."""

DEAD_FRACTION = 0.2
"""A larger share of ReLU units that are never above zero is capacity lost."""

DENORMAL_FRACTION = 0.01
"""From this share of denormal numbers in a gradient on, it shows in the time of a step."""


def spectrum_findings(history: History) -> list[Finding]:
    """What the latest sample of a `RecurrentSpectrumMonitor` has to say.

    Args:
        history: The record of a run.

    Returns:
        What was found; empty where nothing was, or no such monitor has taken part.
    """
    summary = summarize_spectrum(history)
    rules = (exploded_weights, saturated_units, dead_units, denormal_gradients)
    return [] if summary is None else [finding for rule in rules if (finding := rule(summary)) is not None]


def exploded_weights(summary: SpectrumSummary) -> Finding | None:
    """Recurrent weights that stretch a state by a factor of more than a hundred."""
    found = [block for block in summary.blocks if block.proof is Proof.EXPLODED]
    if not found:
        return None
    worst = max(found, key=lambda block: block.sigma_max[1])
    began, now = worst.sigma_max
    names = list(dict.fromkeys(block.weights for block in found))
    return Finding(
        Severity.CRITICAL,
        f"The recurrent weights have exploded: σ max of {worst.weights} is {number(now)}",
        f"It was {number(began)} at step {count(summary.steps[0])}. {listed(names)}: steps were so long that the "
        "weights have lost what had been learnt. Gradients that look calm now are those of saturated or dead units.",
        "Start again, from a checkpoint before it or from the beginning, with GradientClipping(NormClip(1.0)) or a "
        "learning rate 3 to 10 times lower.",
    )


def saturated_units(summary: SpectrumSummary) -> Finding | None:
    """Most of the states of a tanh layer are at its ends."""
    found = _above(summary, "saturated_fraction", SATURATED_FRACTION)
    if not found:
        return None
    return Finding(
        Severity.WARNING,
        f"{percent(max(found.values()))} of the states are saturated: beyond ±0.95",
        f"{listed(list(found))}: there the slope of tanh is below 0.1, so that gradients vanish.",
        "Scale the inputs, start with smaller or orthogonal recurrent weights, clip, or lower the learning rate; "
        "LayerNormRNN keeps units in range.",
    )


def dead_units(summary: SpectrumSummary) -> Finding | None:
    """ReLU units that never become active."""
    found = _above(summary, "dead_fraction", DEAD_FRACTION)
    if not found:
        return None
    return Finding(
        Severity.WARNING,
        f"{percent(max(found.values()))} of the recurrent ReLU units are dead: 0 at every step of every sequence",
        f"{listed(list(found))}: such a unit has no gradient and does not come back by itself.",
        "Clip or lower the learning rate, or start with identity weights and biases of zero.",
    )


def denormal_gradients(summary: SpectrumSummary) -> Finding | None:
    """Gradients so small that a CPU computes them slowly."""
    found = {name: share for name, share in summary.denormal.items() if share > DENORMAL_FRACTION}
    if not found or summary.device != "cpu":
        return None
    names = [name or "the layer" for name in found]
    return Finding(
        Severity.WARNING,
        f"{percent(max(found.values()))} of a gradient is denormal: it vanishes, and may slow the CPU down",
        f"{listed(names)}: on its way back in time the gradient falls below 1.18e-38, where float32 loses its "
        f"precision and many CPUs take several times as long.",
        "torch.set_flush_denormal(True) before the fit makes such numbers zero: depending on the CPU, a backward pass "
        "gets up to 7 times faster or stays as it was. Sequences this long need an LSTM with a larger forget bias, or "
        "shorter chunks.",
    )


def _above(summary: SpectrumSummary, share: str, limit: float) -> dict[str, float]:
    return {name: unit[share] for name, unit in summary.units.items() if unit.get(share, 0.0) > limit}
