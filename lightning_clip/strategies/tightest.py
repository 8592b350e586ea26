"""`Tightest`: apply the smallest factor of several strategies."""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from lightning_clip._checks import check_each
from lightning_clip.core.actions import Action, Keep, Scale, ScaleEach, Sequential, Skip
from lightning_clip.core.element_actions import Replace
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.blocks import blocks_of
from lightning_clip.strategies.no_clip import NoClip

Limited = tuple[Tensor, Tensor]


class Tightest(ClipStrategy):
    """Let several strategies decide on the same gradients and apply the smallest factor.

    If all of them scale, each gradient gets the smallest factor that any of them gives it. If one changes individual
    elements, each element becomes the value nearest to zero that any of them leaves; this copies the gradients once per
    strategy. The step is skipped if any strategy skips it. All of them see every step, so their histories advance
    together.

    Args:
        strategies: The strategies, in any order; `NoClip()` by default.

    Raises:
        ArgumentTypeError: An item is not a strategy.
        ArgumentError: There is no item.

    Example:
        >>> from lightning_clip import NormClip, PerParameterNormClip
        >>> Tightest([NormClip(1.0), PerParameterNormClip(0.5)]).label
        'Tightest(NormClip(1.0), PerParameterNormClip(0.5))'

    References:
        None: the elementwise minimum of the factors `min(1, c / N)` of the given rules.
    """

    def __init__(self, strategies: Sequence[ClipStrategy] | None = None) -> None:
        super().__init__()
        strategies = [NoClip()] if strategies is None else strategies
        check_each("Tightest", ClipStrategy, at_least=1, strategies=strategies)
        self.members = nn.ModuleList(strategies)

    @property
    def strategies(self) -> tuple[ClipStrategy, ...]:
        """The strategies, in the given order."""
        return tuple(self.members)  # type: ignore[arg-type]

    @property
    def label(self) -> str:
        """The labels of the strategies."""
        return f"Tightest({', '.join(member.label for member in self.strategies)})"

    def decide(self, grads: Gradients) -> Action:
        """Let every strategy decide, and apply the smallest result."""
        actions = [member.decide(grads) for member in self.strategies]
        if not actions:
            return Keep()
        skips = [Skip(torch.as_tensor(action.skipped)) for action in actions if action.skipped is not False]
        tightest = Sequential([tightest_of(actions, grads), *skips])
        tightest.watched = {label: factor for action in actions for label, factor in action.watched.items()}
        return tightest


def tightest_of(actions: Sequence[Action], grads: Gradients) -> Action:
    """One action that leaves as little of each gradient as any of several actions would.

    Args:
        actions: At least one action; skips are ignored.
        grads: The gradients that the actions were decided on.

    Returns:
        A `Scale` if all factors are `()`, a `ScaleEach` if some are `(n,)`, otherwise a `Replace`.
    """
    one = torch.ones((), device=grads.device)
    coefs = [one * action.coefs for action in actions if action.coefs is not None]
    if len(coefs) < len(actions):
        left = [action.preview(grads).locals for action in actions]
        nearest: list[Tensor | None] = [None] * len(grads)
        for block in blocks_of(grads.locals):
            flat = reduce(_nearer_to_zero, (block.flatten(tensors) for tensors in left))
            for i, value in zip(block.members, block.unflatten(flat, grads.locals), strict=True):
                nearest[i] = value
        return Replace(nearest)
    if any(coef.dim() for coef in coefs):
        return ScaleEach(reduce(torch.minimum, coefs))
    limits = [one * (torch.inf if action.threshold is None else action.threshold) for action in actions]
    coef, limit = reduce(_tighter, zip(coefs, limits, strict=True))
    return Scale(coef, None if all(action.threshold is None for action in actions) else limit)


def _tighter(a: Limited, b: Limited) -> Limited:
    """The smaller factor with its limit; of equal factors, the one with the smaller limit."""
    a_wins = (a[0] < b[0]) | ((a[0] == b[0]) & (a[1] <= b[1]))
    return torch.where(a_wins, a[0], b[0]), torch.where(a_wins, a[1], b[1])


def _nearer_to_zero(a: Tensor, b: Tensor) -> Tensor:
    return torch.where((a.abs() <= b.abs()) | b.isnan(), a, b)
