"""Rules about single parameters: no gradient, a vanishing one, a dominant one."""

from collections.abc import Iterator, Sequence

from lightning_clip.reports.diagnosis.rule import Finding, Severity
from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.formats import counted, listed, number, percent
from lightning_clip.reports.summary import FEW_STEPS, ParameterSummary

VANISHING_RATIO = 1e-4
"""A parameter whose median norm is a smaller part of the total norm hardly learns."""

DOMINANT_SHARE = 0.9
"""A parameter with a larger share of the squared norm decides alone what clipping does."""

DOMINANT_AMONG = 3
"""Among fewer parameters one is expected to dominate."""


def dead_parameters(evidence: Evidence) -> Iterator[Finding]:
    """Parameters whose gradient was zero at every step."""
    dead = [one for one in evidence.summary.parameters if one.max == 0 and one.steps >= FEW_STEPS]
    if dead:
        yield Finding(
            Severity.WARNING,
            f"{_start(dead, 'no gradient')}: exactly 0 at every step",
            f"{_names(dead)}: the loss does not depend on {'it' if len(dead) == 1 else 'them'}.",
            "Look for units that are never active (ReLU), a detached or masked path, or a loss that ignores an output.",
            kind="dead-parameters",
        )


def vanishing_parameters(evidence: Evidence) -> Iterator[Finding]:
    """Parameters whose gradient is tiny beside the total."""
    medians = [one.part.median for one in evidence.optimizers if one.part.median > 0]
    if not medians:
        return
    limit = VANISHING_RATIO * min(medians)
    parameters = evidence.summary.parameters
    small = [one for one in parameters if one.steps >= FEW_STEPS and one.median < limit and one.max > 0]
    if small:
        yield Finding(
            Severity.WARNING,
            f"{_start(small, 'a vanishing gradient')}: below {number(VANISHING_RATIO)} of the total norm",
            f"{_names(small)}: the median norm is at most {number(max(one.median for one in small))}, of a total of "
            f"{number(min(medians))}.",
            "Try an adaptive optimizer, normalization, residual or gated connections, or a different initialization.",
            kind="vanishing-parameters",
        )


def dominant_parameter(evidence: Evidence) -> Iterator[Finding]:
    """One parameter that holds nearly all of the norm, and more than its size explains."""
    parameters = evidence.summary.parameters
    if len(parameters) < DOMINANT_AMONG:
        return
    first = parameters[0]
    elements = sum(one.elements or 0 for one in parameters)
    large = elements > 0 and (first.elements or 0) / elements >= DOMINANT_SHARE
    if first.share > DOMINANT_SHARE and not large:
        yield Finding(
            Severity.NOTE,
            f"{first.name} holds {percent(first.share)} of the squared norm",
            "This one gradient decides what clipping by the total norm does, and all others shrink with it.",
            "PerParameterNormClip limits each gradient separately. Unscaled inputs or targets are a common cause.",
            kind="dominant-parameter",
        )


def _start(parameters: Sequence[ParameterSummary], what: str) -> str:
    return f"{counted(len(parameters), 'parameter')} {'has' if len(parameters) == 1 else 'have'} {what}"


def _names(parameters: Sequence[ParameterSummary]) -> str:
    return listed([one.name for one in parameters])
