"""Rules about single parameters: dead, vanishing, dominant."""

from lightning_clip.reports.diagnosis.rule import Finding, Severity
from lightning_clip.reports.formats import counted, listed, number, percent
from lightning_clip.reports.summary import FEW_STEPS, ParameterSummary, Summary

VANISHING_RATIO = 1e-4
"""A parameter whose median norm is a smaller part of the total's hardly learns."""

DOMINANT_SHARE = 0.9
"""A parameter with a larger share of the squared norm decides alone what clipping does."""

DOMINANT_AMONG = 3
"""Among fewer parameters one is expected to dominate."""


def dead_layers(summary: Summary) -> Finding | None:
    """Parameters whose gradient was zero at every step."""
    dead = [layer for layer in summary.layers if layer.max == 0 and layer.steps >= FEW_STEPS]
    if not dead:
        return None
    return Finding(
        Severity.WARNING,
        f"{_start(dead, 'no gradient')}: exactly 0 at every step",
        f"{_names(dead)}: nothing that the loss depends on passes through.",
        "Look for units that are never active (ReLU), a detached or masked path, or a loss that ignores this output.",
    )


def vanishing_layers(summary: Summary) -> Finding | None:
    """Parameters whose gradient is tiny beside the total."""
    medians = [part.median for part in summary.optimizers if part.median > 0]
    if not medians:
        return None
    limit = VANISHING_RATIO * min(medians)
    small = [layer for layer in summary.layers if layer.steps >= FEW_STEPS and layer.median < limit and layer.max > 0]
    if not small:
        return None
    return Finding(
        Severity.WARNING,
        f"{_start(small, 'a vanishing gradient')}: below {number(VANISHING_RATIO)} of the total norm",
        f"{_names(small)}: median norm {number(max(layer.median for layer in small))} at most, "
        f"of a total of {number(min(medians))}.",
        "An adaptive optimizer, normalisation, residual or gated connections, or another initialisation bring it back.",
    )


def dominant_layer(summary: Summary) -> Finding | None:
    """One parameter that holds nearly all of the norm, and more than its size explains."""
    if len(summary.layers) < DOMINANT_AMONG:
        return None
    first = summary.layers[0]
    elements = sum(layer.elements or 0 for layer in summary.layers)
    large = elements > 0 and (first.elements or 0) / elements >= DOMINANT_SHARE
    if first.share <= DOMINANT_SHARE or large:
        return None
    return Finding(
        Severity.NOTE,
        f"{first.name} holds {percent(first.share)} of the squared norm",
        "Clipping by the total norm is decided by this one gradient, and shortens all others with it.",
        "PerParameterNormClip limits each gradient by itself. Unscaled inputs or targets are a common cause.",
    )


def _start(layers: list[ParameterSummary], what: str) -> str:
    return f"{counted(len(layers), 'parameter')} {'has' if len(layers) == 1 else 'have'} {what}"


def _names(layers: list[ParameterSummary]) -> str:
    return listed([layer.name for layer in layers])
