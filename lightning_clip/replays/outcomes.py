"""`outcomes_of`: what each clipping strategy would have done to a step."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import lightning_clip.strategies as offered
from lightning_clip._errors import reason_of
from lightning_clip.core.clip import clip_
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy

_MOST_ELEMENTS = 200_000_000
"""The number of gradient elements that all strategies together may read; fewer norms before the step are shown them."""


_COMPOSITES = (
    *(offered.Blend, offered.Chain, offered.NoClip, offered.Shadow, offered.Tightest),
    *(offered.StrategySchedule, offered.ThresholdSchedule),
)
"""Strategies that by themselves say nothing about a step."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a strategy would have done.

    Attributes:
        strategy: The strategy, as code.
        verdict: `"unchanged"`, `"clipped"`, `"skipped"`, or `"refused"` if it cannot work with this model or optimizer.
        norm_after: The total norm that the optimizer would have received; 0 for a skipped step, NaN if it refused.
        reason: Why it refused.
    """

    strategy: str
    verdict: str
    norm_after: float
    reason: str = ""


def outcomes_of(
    gradients: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    norms_before: Sequence[float],
    *,
    optimizer: Optimizer | None = None,
    params: Mapping[str, Tensor] | None = None,
) -> list[Outcome]:
    """Ask every strategy that has defaults.

    An adaptive strategy first sees the norms of the steps before, in the direction of this gradient.

    Args:
        gradients: The gradients of the step, by parameter.
        weights: The parameters, by name.
        norms_before: The norms of the steps before, in order.
        optimizer: The optimizer as it was before the step, for strategies that read its state; it is not changed.
        params: The parameters by which it knows its state, by name.

    Returns:
        The outcomes, by the name of the strategy.
    """
    kinds = [getattr(offered, name) for name in sorted(offered.__all__)]
    numel = sum(grad.numel() for grad in gradients.values())
    count = min(len(norms_before), _MOST_ELEMENTS // max(1, numel * len(kinds)))
    shown = list(norms_before[len(norms_before) - count :])
    kept = _Kept(optimizer, dict(params or {}))
    found = []
    for kind in kinds:
        try:
            strategy = kind()
        except (TypeError, ValueError):
            continue  # it wraps others, or needs a schedule
        if isinstance(strategy, ClipStrategy) and not isinstance(strategy, _COMPOSITES):
            try:
                found.append(_outcome(strategy, gradients, weights, shown, kept))
            except (TypeError, ValueError) as error:  # it reads what this optimizer does not keep, for instance
                found.append(Outcome(repr(strategy), "refused", math.nan, reason_of(error)))
    return found


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the optimizer of the step keeps; copies of its parameters are given copies of it."""

    optimizer: Optimizer | None
    params: dict[str, Tensor]

    def for_copies(self, copies: Mapping[str, nn.Parameter]) -> Optimizer | None:
        """Return an optimizer that has the same state and options for other parameters, and never steps."""
        if self.optimizer is None:
            return None
        copy_of = {id(self.params[name]): param for name, param in copies.items()}
        groups = [
            {**group, "params": [copy_of[id(param)] for param in group["params"] if id(param) in copy_of]}
            for group in self.optimizer.param_groups
        ]
        kind = type(type(self.optimizer).__name__, (Optimizer,), {})  # a refusal quotes the name
        twin: Optimizer = kind([group for group in groups if group["params"]], {})
        for name, param in copies.items():
            state = self.optimizer.state.get(self.params[name], {})  # cloned: a strategy may reset moments in place
            twin.state[param] = {key: one.clone() if isinstance(one, Tensor) else one for key, one in state.items()}
        return twin


@torch.no_grad()
def _outcome(
    strategy: ClipStrategy,
    gradients: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    norms_before: Sequence[float],
    kept: _Kept,
) -> Outcome:
    params = [nn.Parameter(weights[name].clone()) for name in gradients]
    optimizer = kept.for_copies(dict(zip(gradients, params, strict=True)))
    direction = list(gradients.values())
    if not all(bool(grad.isfinite().all()) for grad in direction):
        direction = [torch.ones_like(grad) for grad in direction]
    norm = float(_set(params, gradients, direction, 1.0, 0).total_norm())
    for step, before in enumerate(norms_before):
        clip_(_set(params, gradients, direction, before / norm if norm else 0.0, step, optimizer), strategy)
    own = _set(params, gradients, list(gradients.values()), 1.0, len(norms_before), optimizer)
    before = float(own.total_norm())
    made = clip_(own, strategy)
    if bool(made.skipped):
        return Outcome(repr(strategy), "skipped", 0.0)
    after = float(own.remeasured().total_norm())
    return Outcome(repr(strategy), "clipped" if after != before else "unchanged", after)


def _set(
    params: Sequence[nn.Parameter],
    names: Mapping[str, Tensor],
    grads: Sequence[Tensor],
    factor: float,
    step: int,
    optimizer: Optimizer | None = None,
) -> Gradients:
    for param, grad in zip(params, grads, strict=True):
        param.grad = grad.to(param.dtype) * factor if factor != 1.0 else grad.to(param.dtype, copy=True)
    return Gradients(list(names), params, step=step, optimizer=optimizer)
