"""Rules about the gradient through time: it explodes, it vanishes, it is denormal."""

import math
from collections.abc import Iterator, Sequence

from lightning_clip.core.recurrent.temporal_profile import DENORMAL_FRACTION, Flow, TemporalProfile
from lightning_clip.reports.diagnosis.lines import ORTHOGONAL_WEIGHTS, clip_lines, longer_memory_lines
from lightning_clip.reports.diagnosis.rule import Finding, Severity
from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.formats import TIMES, count, counted, literal, number, percent
from lightning_clip.reports.summary import UNCLIPPED

REACHED_HALF = 0.5
"""A gradient that reaches back over less of the window is worth a note."""

_CLIP = (
    "Clip, so that one such step cannot ruin the weights. Smaller initial recurrent weights "
    '(init="orthogonal", or init_gain below 1) make it rarer:'
)
_CLIPPED = (
    "Clipping limits its length, but its direction is still that of the earliest steps. Smaller recurrent weights "
    '(init="orthogonal", init_gain below 1, recurrent_l2) or LSTMModule(grad_clip_gates=…) change that.'
)


def explodes_through_time(evidence: Evidence) -> Iterator[Finding]:
    """The gradient of a recurrent layer grows on its way back through time."""
    for profiles in evidence.profiles.values():
        latest = profiles[-1]
        if latest.flow is Flow.EXPLODING:
            unclipped = any(one.part.verdict is UNCLIPPED for one in evidence.optimizers)
            learns = any(one.losses is not None and one.losses.fell for one in evidence.optimizers)
            yield Finding(
                Severity.NOTE if learns and not unclipped and latest.is_finite else Severity.WARNING,
                f"The gradient explodes through time in {latest.layer}: {growth_in_words(latest)}",
                f"{_how_often(profiles)} The earliest steps of a sequence dominate what is learned from it, and a "
                "small change of the weights changes the gradient a lot.",
                _CLIP if unclipped else _CLIPPED,
                kind="temporal-explosion",
                code=clip_lines(evidence) if unclipped else ORTHOGONAL_WEIGHTS,
            )


def vanishes_through_time(evidence: Evidence) -> Iterator[Finding]:
    """Hardly any of the gradient of a recurrent layer reaches back."""
    for profiles in evidence.profiles.values():
        latest = profiles[-1]
        if latest.flow is Flow.VANISHING:
            amount = "only a little" if latest.has_weak_rest else "almost nothing"
            yield Finding(
                Severity.WARNING,
                f"The gradient vanishes through time in {latest.layer}: 1% is left after "
                f"{count(latest.horizon)} of {counted(latest.window, 'step')}",
                f"{_how_often(profiles)} Input further back than that contributes {amount} to learning.",
                _longer_memory(latest),
                kind="temporal-vanishing",
                code=longer_memory_lines(latest.window, gru=latest.cell == "GRU"),
            )


def short_memory(evidence: Evidence) -> Iterator[Finding]:
    """The gradient reaches back over less than half of what was measured."""
    for profiles in evidence.profiles.values():
        latest = profiles[-1]
        if latest.flow is Flow.HEALTHY and latest.horizon < REACHED_HALF * latest.window and not latest.has_weak_rest:
            yield Finding(
                Severity.NOTE,
                f"The gradient reaches back over {count(latest.horizon)} of {counted(latest.window, 'step')} in "
                f"{latest.layer}",
                f"It halves every {number(latest.half_life)} steps, and 1% is left after {count(latest.horizon)}. "
                "Input further back contributes almost nothing to learning.",
                _longer_memory(latest),
                kind="short-memory",
                code=longer_memory_lines(latest.window, gru=latest.cell == "GRU"),
            )


def denormal_through_time(evidence: Evidence) -> Iterator[Finding]:
    """The gradient through time is made of numbers that a CPU is slow with."""
    for profiles in evidence.profiles.values():
        latest = profiles[-1]
        if latest.denormal_fraction > DENORMAL_FRACTION:
            yield Finding(
                Severity.NOTE,
                f"{percent(latest.denormal_fraction)} of the gradient through time in {latest.layer} is denormal",
                "Numbers below 1.2e-38 are practically zero, and a CPU takes several times as long for them.",
                "torch.set_flush_denormal(True) at the start of the program sets them to zero. A GPU is not affected.",
                kind="denormal-through-time",
                unless=("denormal",),
            )


def growth_in_words(profile: TemporalProfile) -> str:
    """How an exploding gradient grows: `× 2.9e+04 over 99 steps`."""
    if not profile.is_finite:
        return "it is NaN or infinite"
    if not profile.grows:
        return f"its largest norm is {TIMES} {number(profile.peak_ratio)} the usual one"
    steps = profile.window - 1
    return f"{TIMES} {number(math.exp(min(700.0, profile.growth_rate * steps)))} over {counted(steps, 'step')}"


def _how_often(profiles: Sequence[TemporalProfile]) -> str:
    """In how many profiles the flow was as in the latest."""
    latest = profiles[-1]
    alike = sum(profile.flow is latest.flow for profile in profiles)
    if len(profiles) == 1:
        return f"Measured once, at step {count(latest.step)}."
    every = "both" if alike == 2 else f"all {count(alike)}"
    some = f"{count(alike)} of {count(len(profiles))}" if alike < len(profiles) else every
    return f"Seen in {some} profiles, the latest at step {count(latest.step)}."


def _longer_memory(profile: TemporalProfile) -> str:
    gate = "update" if profile.cell == "GRU" else "forget"
    bias = f"a{'n' * (gate == 'update')} {gate} bias of about log T, here {literal(math.log(profile.window))}"
    cure = f'use an LSTM with {bias}, or orthogonal recurrent weights (init="orthogonal")'
    if profile.is_gated:
        cure = f'start with {bias}, or with {gate}_bias="chrono" and max_lag'
    chunk = profile.chunk_steps
    enough = f" If it does not, chunks of {chunk[0]} to {chunk[1]} steps are long enough." if chunk else ""
    return f"If the task needs a longer memory, {cure}.{enough}"
