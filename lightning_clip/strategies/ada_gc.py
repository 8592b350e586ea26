"""`AdaGC`: clip each gradient relative to a moving average of its own norm."""

import math
from typing import Self

import torch
from torch import Tensor

from lightning_clip._checks import (
    check_choice,
    check_count,
    check_decay,
    check_flag,
    check_fraction,
    check_positive_finite,
)
from lightning_clip._errors import ArgumentError
from lightning_clip.core.actions import Action, Keep, ScaleEach
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.state import (
    ALL_PARAMETERS,
    EXPLOSION,
    POLICIES,
    ExplosionTable,
    HistoryPolicy,
    PerParameter,
    check_explosion,
    has_signal,
    to_store,
)
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.scaling import clip_coef

MAX_REJECTED = 20
"""How many norms in a row `history="accepted"` rejects before it accepts them as the new level."""


def next_median(median: Tensor, value: Tensor, count: Tensor) -> Tensor:
    r"""One step of a running median on a logarithmic scale: move it up or down by a factor of $e^{1 / (2 \sqrt k)}$.

    A single value, however large, moves the median by at most this factor.

    Args:
        median: The median so far, any shape.
        value: The new values, of the same shape.
        count: k, the number of values including the new one, of the same shape.

    Returns:
        The new median, of the same shape.

    Example:
        >>> next_median(torch.tensor([1.0, 1.0]), torch.tensor([1000.0, 0.5]), torch.tensor([25.0, 25.0]))
        tensor([1.1052, 0.9048])
    """
    return median * torch.exp(torch.sign(value - median) / (2 * count.sqrt()))


class AdaGC(ClipStrategy):
    r"""Scale the gradient of each parameter to at most `clip_factor` times its own usual norm.

    $$\hat g_i = \min\left(1, \frac{\text{clip\_factor} \cdot \gamma_i}{\lVert g_i \rVert}\right) g_i, \qquad
    \gamma_i \leftarrow \text{decay} \cdot \gamma_i + (1 - \text{decay}) x_i$$

    $x_i$ is the norm after the `history` policy. During the first `warmup_steps` steps of a parameter, its gradient is
    scaled by the factor that brings the total norm to `max_norm`, and its level $\gamma_i$ follows the running median
    of its norms, which takes one number per parameter. A level counts as at least `floor` times the median of all
    levels. Gradients of exactly zero do not change the level. A step with a NaN or infinite gradient does not change
    any level.

    `history="accepted"` treats a rise as genuine after 20 norms in a row above the limit.

    Args:
        clip_factor: Largest norm relative to the level; the paper's λ_rel.
        decay: Weight of the past in the level, in [0, 1); the paper's β.
        max_norm: Largest total norm during warmup, in the unit of the loss gradient; the paper's λ_abs.
        warmup_steps: The step, counted from 1, at which a parameter's own limit takes over; the paper's T_start.
        history: How a norm enters the level: `"observed"` stores it unchanged, `"clipped"` after clipping,
            `"winsorized"` at most twice the limit, and `"accepted"` only if it is within the limit.
        explosion: A norm above this multiple of its limit is an explosion and not a new level: after five in a row,
            only one in twenty is stored, as at most twice the limit. `inf` stores all.
        floor: Smallest level, as a fraction of the median of the levels of all parameters.
        min_scale: Smallest scaling factor, in [0, 1].
        paper: Whether to use the paper's exact rule: the level starts at the smallest norm of the warmup, learns
            clipped norms including zeros, and has no floor. A single zero gradient during warmup can then freeze a
            parameter for good.
        eps: Smallest level and smallest norm to divide by, in the unit of the loss gradient.

    Raises:
        ArgumentTypeError: An argument has the wrong type.
        ArgumentError: An argument is out of range, or `paper` is combined with `history`, `floor` or `min_scale`.

    Example:
        >>> AdaGC(1.1, warmup_steps=50).label
        'AdaGC(1.1, warmup_steps=50)'

    References:
        Guoxia Wang, Shuai Li, Congliang Chen, Jinle Zeng, Jiabin Yang, Dianhai Yu, Yanjun Ma, Li Shen, "AdaGC:
        Improving Training Stability for Large Language Model Pretraining", 2025, https://arxiv.org/abs/2502.11034.
        `AdaGC.reference()` is the paper's rule. Unless `paper=True`, we differ in the starting level, in what is
        stored, in the floor, and in counting the warmup separately for each parameter, so that a parameter that joins
        late gets one too.
    """

    def __init__(
        self,
        clip_factor: float = 1.05,
        *,
        decay: float = 0.98,
        max_norm: float = 1.0,
        warmup_steps: int = 100,
        history: HistoryPolicy = "winsorized",
        explosion: float = EXPLOSION,
        floor: float = 0.01,
        min_scale: float = 0.0,
        paper: bool = False,
        eps: float = 1e-8,
    ) -> None:
        super().__init__()
        check_positive_finite("AdaGC", clip_factor=clip_factor, max_norm=max_norm, eps=eps)
        check_decay("AdaGC", decay=decay)
        check_count("AdaGC", at_least=0, warmup_steps=warmup_steps)
        check_choice("AdaGC", POLICIES, history=history)
        check_explosion("AdaGC", explosion)
        check_fraction("AdaGC", floor=floor, min_scale=min_scale)
        check_flag("AdaGC", paper=paper)
        if paper and (history, floor, min_scale) != ("winsorized", 0.01, 0.0):
            raise ArgumentError(
                f"AdaGC(paper=True, history={history!r}, floor={floor!r}, min_scale={min_scale!r}): "
                "the paper's rule has none of the three; omit them, or set paper=False."
            )
        self.clip_factor = clip_factor
        self.decay = decay
        self.max_norm = max_norm
        self.warmup_steps = warmup_steps
        self.history = history
        self.explosion = explosion
        self.floor = floor
        self.min_scale = min_scale
        self.paper = paper
        self.eps = eps
        self.levels = PerParameter(level=math.inf, rejected=0.0)  # `inf`: no level yet
        self.clock = PerParameter(steps=0.0)
        self.explosions = ExplosionTable(math.inf if paper else explosion)

    @classmethod
    def reference(
        cls, clip_factor: float = 1.05, *, decay: float = 0.98, max_norm: float = 1.0, warmup_steps: int = 100
    ) -> Self:
        """The paper's rule with its constants, `paper=True`; equal to `pytorch_optimizer`'s AdaGC up to rounding.

        One thing differs on purpose: a step with a NaN or infinite gradient changes no level.

        Args:
            clip_factor: The paper's λ_rel.
            decay: The paper's β.
            max_norm: The paper's λ_abs.
            warmup_steps: The paper's T_start.

        Returns:
            The strategy.
        """
        return cls(clip_factor, decay=decay, max_norm=max_norm, warmup_steps=warmup_steps, paper=True)

    def decide(self, grads: Gradients) -> Action:
        """Scale by one factor for all gradients during warmup, then by `min(1, clip_factor * level / norm)`."""
        if not len(grads):
            return Keep()
        norms, total = grads.norms(), grads.total_norm()
        level, _ = self.levels.take(grads)
        warming = (self._step(grads) < self.warmup_steps) | level.isinf()
        limit = self.clip_factor * torch.maximum(level, self._least_level())
        shared = clip_coef(total, self.max_norm, eps=self.eps, min_scale=self.min_scale)
        own = clip_coef(norms.clamp(min=self.eps), limit, min_scale=self.min_scale)
        coefs = torch.where(warming, shared, own)
        in_force = torch.where(warming, torch.where(shared < 1, shared * norms, math.inf), limit)
        self._learn(grads, in_force, warming)
        return ScaleEach(coefs)

    def _learn(self, grads: Gradients, limit: Tensor, warming: Tensor) -> None:
        norms, finite = grads.norms(), grads.total_norm().isfinite()
        level, rejected = self.levels.take(grads)
        step = self._step(grads)
        value, fits = to_store("clipped" if self.paper else self.history, norms, limit)
        observed = finite.expand_as(norms) if self.paper else has_signal(grads, norms)
        value, enters = self.explosions.take_each(grads.names, norms, limit, value, observed)
        stored = observed & enters & (fits | (rejected >= MAX_REJECTED))
        started = torch.minimum(level, value) if self.paper else next_median(level, value, step)
        learned = torch.where(warming, started, self.decay * level + (1 - self.decay) * value)
        learned = torch.where(level.isinf(), value, learned)
        rejected = torch.where(observed, torch.where(fits, 0.0, rejected + 1), rejected)
        self.levels.put(grads, torch.where(stored, learned, level), rejected)
        self.clock.put_rows(self._clocks(grads), step - 1 + (finite.view(1) if self.paper else observed))

    def _step(self, grads: Gradients) -> Tensor:
        """The current step, counted from 1: of each parameter, `(n,)`, or of all of them, `(1,)`."""
        (steps,) = self.clock.take_rows(self._clocks(grads), grads.norms())
        return steps + 1

    def _clocks(self, grads: Gradients) -> tuple[str, ...]:
        return ALL_PARAMETERS if self.paper else grads.names

    def _least_level(self) -> Tensor:
        levels = self.levels.get_buffer("level")
        median = torch.where(levels.isinf(), math.nan, levels).nanmedian()
        floor = 0.0 if self.paper else self.floor
        return (floor * median).nan_to_num(nan=0.0).clamp(min=self.eps)
