"""`GroupEmaClip`: clip named groups of parameters, each relative to a moving average of its own norm."""

import math

import torch
from torch import Tensor

from lightning_clip._checks import check_count, check_decay, check_fraction, check_positive
from lightning_clip._errors import ArgumentError
from lightning_clip.core.actions import Action, Keep, ScaleEach
from lightning_clip.core.globs import REST, Globs
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.state import EXPLOSION, ExplosionTable, PerParameter, check_explosion, has_signal, to_store
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.scaling import clip_coef


class GroupEmaClip(ClipStrategy):
    r"""Scale the gradients of each group so that the norm of the group is at most a multiple of its usual norm.

    $$\hat g_A = \min\left(1, \frac{r_A S_A}{\lVert g_A \rVert}\right) g_A, \qquad
    S_A \leftarrow \text{decay} \cdot S_A + (1 - \text{decay})\, x_A$$

    A group consists of the parameters that one glob matches, as in `GroupNormClip`, and $r_A$ is its factor. The value
    $x_A$ is the norm of the group before clipping, but at most twice the limit. The direction within a group is kept;
    the overall direction is not. Parameters that no glob matches are left unchanged.

    During the first `warmup_steps` steps of a group, it is scaled by the factor that brings the total norm of all
    gradients to `max_norm`, and its level $S_A$ is the mean of what is left of its norms. Gradients of exactly zero do
    not change the level. A step with a NaN or infinite gradient does not change any level.

    Args:
        factors: Largest norm of each group relative to its level, by glob over parameter names (`*`, `?`, `[ab]`). By
            default all parameters form one group with a factor of 1.5.
        decay: Weight of the past in the level, in [0, 1).
        max_norm: Largest total norm during warmup, in the unit of the loss gradient.
        warmup_steps: How many norms of a group set its level before its own limit takes over.
        explosion: A norm above this multiple of its limit is an explosion and not a new level: after five in a row,
            only one in twenty is stored, as at most twice the limit. `inf` stores all.
        min_scale: Smallest scaling factor, in [0, 1].

    Raises:
        ArgumentTypeError: An argument has the wrong type.
        ArgumentError: An argument is out of range, or `factors` is empty. At the first step: a glob matches no
            parameter, with or without a gradient, or two globs match the same one.

    Example:
        >>> GroupEmaClip({"encoder.*": 1.2, "*": 2.0}).label
        "GroupEmaClip({'encoder.*': 1.2, '*': 2.0})"

    References:
        The authors of "AGGC", 2026, https://arxiv.org/abs/2601.11864. Their level starts at zero without bias
        correction, which holds gradients down for hundreds of steps; it learns clipped norms; and norms below a second
        limit may be raised. We start from the mean of the first norms, winsorize, and never raise a norm. Their code is
        not public, so there is no preset `reference()`.
    """

    def __init__(
        self,
        factors: dict[str, float] | None = None,
        *,
        decay: float = 0.98,
        max_norm: float = 1.0,
        warmup_steps: int = 20,
        explosion: float = EXPLOSION,
        min_scale: float = 0.0,
    ) -> None:
        super().__init__()
        self.factors = {REST: 1.5} if factors is None else dict(factors)
        if not self.factors:
            raise ArgumentError("GroupEmaClip(factors={}): factors needs at least one glob, such as {'*': 1.5}.")
        check_positive(
            "GroupEmaClip", or_none=False, **{f"factors[{glob!r}]": factor for glob, factor in self.factors.items()}
        )
        check_positive("GroupEmaClip", max_norm=max_norm)
        check_decay("GroupEmaClip", decay=decay)
        check_count("GroupEmaClip", warmup_steps=warmup_steps)
        check_explosion("GroupEmaClip", explosion)
        check_fraction("GroupEmaClip", min_scale=min_scale)
        self.decay = decay
        self.max_norm = max_norm
        self.warmup_steps = warmup_steps
        self.explosion = explosion
        self.min_scale = min_scale
        self.levels = PerParameter(level=math.inf, steps=0.0)  # `inf`: no level yet
        self.explosions = ExplosionTable(explosion)
        self._globs = Globs(f"GroupEmaClip(factors={self.factors!r})", self.factors)
        self._found: dict[object, tuple[tuple[str, ...], Tensor, Tensor]] = {}

    def decide(self, grads: Gradients) -> Action:
        """Scale each group by `min(1, factor * level / norm)`, or all alike while they warm up."""
        groups = self._globs.of(grads)
        if not len(grads) or not any(groups):
            return Keep()
        names, factors, index = self._layout(tuple(groups), grads.norms())
        norms = _group_norms(grads.norms(), index, len(names))
        level, steps = self.levels.take_rows(names, norms)
        warming = (steps < self.warmup_steps) | level.isinf()
        limits = torch.where(warming, math.inf, factors * level)
        shared = clip_coef(grads.total_norm(), self.max_norm, min_scale=self.min_scale)
        coefs = torch.where(warming, shared, clip_coef(norms, limits, min_scale=self.min_scale))
        self._learn(grads, names, norms, limits, shared)
        return ScaleEach(torch.cat([coefs, torch.ones_like(coefs[:1])]).index_select(0, index))

    def _learn(self, grads: Gradients, names: tuple[str, ...], norms: Tensor, limits: Tensor, shared: Tensor) -> None:
        level, steps = self.levels.take_rows(names, norms)
        observed, warming = has_signal(grads, norms), limits.isinf()
        value, _ = to_store("winsorized", norms, limits)
        value, enters = self.explosions.take_each(names, norms, limits, value, observed)
        value = torch.where(warming, shared * norms, value)
        gain = torch.where(warming, 1 / (steps + 1), 1 - self.decay)
        learned = torch.where(level.isinf(), value, level + gain * (value - level))
        self.levels.put_rows(names, torch.where(observed & enters, learned, level), steps + observed)

    def _layout(self, groups: tuple[str | None, ...], like: Tensor) -> tuple[tuple[str, ...], Tensor, Tensor]:
        """The groups that have a gradient now, their factors, and the group of each gradient; cached."""
        key = groups, like.device, like.dtype
        if key not in self._found:
            names = tuple(glob for glob in self.factors if glob in groups)
            place = {glob: i for i, glob in enumerate(names)}
            factors = torch.tensor([self.factors[glob] for glob in names], device=like.device, dtype=like.dtype)
            index = torch.tensor([place.get(str(glob), len(names)) for glob in groups], device=like.device)
            if len(self._found) >= 64:  # mixtures of experts have too many combinations to keep them all
                self._found.clear()
            self._found[key] = names, factors, index
        return self._found[key]


def _group_norms(norms: Tensor, index: Tensor, groups: int) -> Tensor:
    """The norm of each group, `(groups,)`, from the norms of its gradients and their groups, each `(n,)`."""
    largest = norms.amax()
    scale = torch.where((largest > 0) & (largest < torch.inf), largest, 1.0)  # squares would overflow
    squares = norms.new_zeros(groups + 1).index_add_(0, index, (norms / scale).square())
    return squares[:groups].sqrt() * scale
