"""Rules about the gradient through time: it explodes, it vanishes, it is denormal."""

import math
from collections.abc import Sequence

from lightning_clip.core.recurrent.temporal_profile import DENORMAL_FRACTION, Flow, TemporalProfile
from lightning_clip.reports.diagnosis.rule import Finding, Severity
from lightning_clip.reports.formats import TIMES, count, counted, literal, number, percent
from lightning_clip.reports.summary import UNCLIPPED, Summary

_CLIP = (
    "Clip: GradientClipping(NormClip(1.0)) keeps one such step from ruining the weights. Smaller recurrent weights at "
    'the start (init="orthogonal", or init_gain below 1) make it rarer.'
)
_CLIPPED = (
    "Clipping bounds its length; its direction is still that of the earliest steps. Smaller recurrent weights "
    '(init="orthogonal", init_gain below 1, recurrent_l2), or LSTMModule(grad_clip_gates=…), change that.'
)


def explodes_through_time(profiles: Sequence[TemporalProfile], summary: Summary) -> Finding | None:
    """The gradient grows on its way back.

    Args:
        profiles: Of one layer, in order.
        summary: The run.
    """
    latest = profiles[-1]
    if latest.flow is not Flow.EXPLODING:
        return None
    unclipped = any(part.verdict is UNCLIPPED for part in summary.optimizers)
    return Finding(
        Severity.WARNING,
        f"The gradient explodes through time in {latest.layer}: {growth_in_words(latest)}",
        f"{_so_often(profiles)} What happened first in a sequence decides what is learnt from it, and a small "
        "change of the weights changes the gradient a lot.",
        _CLIP if unclipped else _CLIPPED,
    )


def vanishes_through_time(profiles: Sequence[TemporalProfile], summary: Summary) -> Finding | None:
    """Hardly anything of the gradient reaches back.

    Args:
        profiles: Of one layer, in order.
        summary: Not looked at.
    """
    latest = profiles[-1]
    if latest.flow is not Flow.VANISHING:
        return None
    rest = "Only a weak rest comes from" if latest.has_weak_rest else "Hardly anything is learnt from"
    return Finding(
        Severity.WARNING,
        f"The gradient vanishes through time in {latest.layer}: 1 % is left after "
        f"{count(latest.horizon)} of {counted(latest.window, 'step')}",
        f"{_so_often(profiles)} {rest} what is further back.",
        _longer_memory(latest),
    )


def denormal(profiles: Sequence[TemporalProfile], summary: Summary) -> Finding | None:
    """The gradient is made of numbers that a CPU is slow with.

    Args:
        profiles: Of one layer, in order.
        summary: Not looked at.
    """
    latest = profiles[-1]
    if latest.denormal_fraction <= DENORMAL_FRACTION:
        return None
    return Finding(
        Severity.NOTE,
        f"{percent(latest.denormal_fraction)} of the gradient through time in {latest.layer} is denormal",
        "Numbers below 1.2e-38 are next to nothing, and a CPU takes several times as long for them.",
        "torch.set_flush_denormal(True) at the start of the program makes them zero. A GPU does not mind them.",
    )


def growth_in_words(profile: TemporalProfile) -> str:
    """How an exploding gradient grows: `× 2.9e+04 over 99 steps`."""
    if not profile.is_finite:
        return "it is not finite"
    if not profile.grows:
        return f"its largest norm is {TIMES} {number(profile.peak_ratio)} of what is usual"
    steps = profile.window - 1
    return f"{TIMES} {number(math.exp(min(700.0, profile.growth_rate * steps)))} over {counted(steps, 'step')}"


def _so_often(profiles: Sequence[TemporalProfile]) -> str:
    """In how many profiles it was as in the latest."""
    latest, so = profiles[-1], sum(profile.flow is profiles[-1].flow for profile in profiles)
    if len(profiles) == 1:
        return f"Measured once, at step {count(latest.step)}."
    some = f"{count(so)} of {count(len(profiles))}" if so < len(profiles) else "both" if so == 2 else f"all {count(so)}"
    return f"In {some} profiles, the latest at step {count(latest.step)}."


def _longer_memory(profile: TemporalProfile) -> str:
    gate = "update" if profile.cell == "GRU" else "forget"
    bias = f"a{'n' * (gate == 'update')} {gate} bias of about log T, here {literal(math.log(profile.window))}"
    cure = f'an LSTM with {bias}, or orthogonal recurrent weights (init="orthogonal")'
    if profile.is_gated:
        cure = f'start with {bias}, or with {gate}_bias="chrono" and max_lag'
    chunk = profile.chunk_steps
    enough = f" Where it does not, chunks of {chunk[0]} to {chunk[1]} steps are long enough." if chunk else ""
    return f"Where the task needs a longer memory: {cure}.{enough}"
