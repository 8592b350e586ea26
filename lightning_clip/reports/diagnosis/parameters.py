"""Rules about single parameters: no gradient, a vanishing one, one that was lost, a dominant one."""

from collections.abc import Iterator, Sequence

from lightning_clip.core.recurrent.names import RecurrentName
from lightning_clip.reports.diagnosis.lines import HE_WEIGHTS, ORTHOGONAL_WEIGHTS, clip_lines, rate_lines
from lightning_clip.reports.diagnosis.rule import Finding, Severity
from lightning_clip.reports.early_explosion import fell_silent
from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.formats import counted, listed, number, percent
from lightning_clip.reports.summary import FEW_STEPS, ParameterSummary

VANISHING_RATIO = 1e-4
"""A parameter whose median norm is a smaller part of the total norm hardly learns."""

DOMINANT_SHARE = 0.9
"""A parameter with a larger share of the squared norm decides alone what clipping does."""

DOMINANT_AMONG = 3
"""Among fewer parameters one is expected to dominate."""

_CURE = (
    "Use ReLU instead of tanh or sigmoid, normalize (nn.BatchNorm1d, nn.LayerNorm), add residual connections or use "
    "fewer layers. Adam learns in spite of short gradients. Start with weights of the right size (He for ReLU, Xavier "
    "for tanh):"
)
_RECURRENT_CURE = (
    "Use an LSTM or GRU instead of a plain RNN, fewer layers, LayerNormRNN or residual connections between layers, and "
    "truncated BPTT if sequences are longer than what has to be remembered. Adam learns in spite of short gradients. "
    "Start with orthogonal recurrent weights:"
)


def dead_parameters(evidence: Evidence) -> Iterator[Finding]:
    """Parameters whose gradient was zero at every step."""
    dead = [one for one in evidence.parameters if one.max == 0 and one.steps >= FEW_STEPS]
    if dead:
        yield Finding(
            Severity.WARNING,
            f"{_start(dead, 'no gradient')}: exactly 0 at every step",
            f"{_names(dead)}: the loss does not depend on {'it' if len(dead) == 1 else 'them'}.",
            "Look for units that are never active (ReLU), a detached or masked path, or a loss that ignores an output.",
            kind="dead-parameters",
        )


def unreached_parameters(evidence: Evidence) -> Iterator[Finding]:
    """Parameters that an optimizer was given and that no backward pass reached."""
    run, seen = evidence.run, {one.name for one in evidence.parameters}
    if (
        run.frozen is None
        or seen.isdisjoint(run.numels)
        or max(one.finite_steps for one in evidence.optimizers) < FEW_STEPS
    ):
        return  # nobody knows what was trained, or how its parameters are called
    never = [name for name in run.numels if name not in seen and name not in run.frozen]
    if never:
        it, they = ("it", "it") if len(never) == 1 else ("them", "they")
        yield Finding(
            Severity.WARNING,
            f"{counted(len(never), 'parameter')} never had a gradient",
            f"{listed(never)}: an optimizer has {it}, but no backward pass has reached {it}, so {they} cannot learn.",
            "Look for a detached tensor, a torch.no_grad() or a layer that forward() does not use. To freeze "
            "parameters on purpose, call requires_grad_(False).",
            kind="dead-parameters",
        )


def vanishing_parameters(evidence: Evidence) -> Iterator[Finding]:
    """Parameters whose gradient has always been tiny beside the total."""
    small, total = _small(evidence)
    once = _once_loud(evidence)
    small = _without_idle_biases(evidence, [one for one in small if one.name not in once])
    if not small:
        return
    layers = [one for one in evidence.parameters if one.elements != 1] or evidence.parameters
    first, last = layers[0], layers[-1]
    slope = ""
    if len(small) > 1 and first.name in {one.name for one in small}:
        slope = f" From back to front it falls from {number(last.median)} ({last.name}) to {number(first.median)}."
    recurrent = any(RecurrentName.parse(one.name) is not None for one in small)
    yield Finding(
        Severity.WARNING,
        f"{_start(small, 'a vanishing gradient')}: below {number(VANISHING_RATIO)} of the total norm",
        f"{_names(small)}: the median norm is at most {number(max(one.median for one in small))}, of a total of "
        f"{number(total)}.{slope}",
        _RECURRENT_CURE if recurrent else _CURE,
        kind="vanishing-parameters",
        code=ORTHOGONAL_WEIGHTS if recurrent else HE_WEIGHTS,
    )


def fell_silent_parameters(evidence: Evidence) -> Iterator[Finding]:
    """Parameters that had a gradient and lost it, without an explosion on record."""
    small, total = _small(evidence)
    once = _once_loud(evidence)
    told = {silent.name for one in evidence.optimizers if one.explosion is not None for silent in one.explosion.silent}
    lost = [one for one in small if one.name in once - told]
    if lost:
        first = evidence.optimizers[0]
        yield Finding(
            Severity.WARNING,
            f"{counted(len(lost), 'parameter')} lost {'its' if len(lost) == 1 else 'their'} gradient during the run",
            f"{_names(lost)}: up to {number(max(one.max for one in lost))} at first, and a median of at most "
            f"{number(max(one.median for one in lost))} of a total of {number(total)}. Units are saturated or dead: "
            "the gradient did not vanish on its way, it was cut off.",
            f"Start over with a lower learning rate{'' if first.is_adaptive else ' or with clipping'}, so that no step "
            "pushes units that far:",
            kind="fell-silent",
            unless=("explosion", "non-finite", "overshoot"),
            code=rate_lines(evidence.run, first, 0.1) if first.is_adaptive else clip_lines(evidence),
        )


def _small(evidence: Evidence) -> tuple[list[ParameterSummary], float]:
    """The parameters with a tiny gradient, in the order of the network, and the total norm that it is tiny beside."""
    medians = [one.part.median for one in evidence.optimizers if one.part.median > 0]
    if not medians:
        return [], 0.0
    limit = VANISHING_RATIO * min(medians)
    return [one for one in evidence.parameters if one.steps >= FEW_STEPS and one.median < limit and one.max > 0], min(
        medians
    )


def _without_idle_biases(evidence: Evidence, small: Sequence[ParameterSummary]) -> list[ParameterSummary]:
    """Leave out biases whose weight has a gradient: one before a BatchNorm, say, which takes any bias away again."""
    heard = {one.name for one in evidence.parameters} - {one.name for one in small}
    return [
        one for one in small if not (one.name.endswith(".bias") and f"{one.name.removesuffix('bias')}weight" in heard)
    ]


def _once_loud(evidence: Evidence) -> set[str]:
    """The parameters of all optimizers that had a gradient once and have hardly any now."""
    names: set[str] = set()
    for one in evidence.optimizers:
        first = next(iter(one.landmarks.opening), None)
        if first is not None and first.is_sample:
            names.update(fell_silent(one.part, one.parameters, max(first.norm_before, one.part.median)))
    return names


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
            unless=("exploded-early", "fell-silent", "dead-parameters"),
        )


def _start(parameters: Sequence[ParameterSummary], what: str) -> str:
    return f"{counted(len(parameters), 'parameter')} {'has' if len(parameters) == 1 else 'have'} {what}"


def _names(parameters: Sequence[ParameterSummary]) -> str:
    return listed([one.name for one in parameters])
