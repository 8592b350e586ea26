"""`AdaGC`: each gradient by a moving average of its own norm, after a warm-up with one limit for all."""

import math

import torch
from torch import Tensor

from lightning_clip._checks import check_choice, check_count, check_decay, check_fraction, check_positive
from lightning_clip._errors import ArgumentError
from lightning_clip.core.actions import Action, Keep, ScaleEach
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.state import ALL_PARAMETERS, POLICIES, HistoryPolicy, PerParameter, has_signal, to_store
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.scaling import clip_coef

MAX_REJECTED = 20
"""How many norms in a row `history="accepted"` keeps out before it takes them as the new level."""


def next_median(median: Tensor, value: Tensor, count: Tensor) -> Tensor:
    r"""One step of a running median on a logarithmic scale: up or down by the factor $e^{1 / (2 \sqrt k)}$.

    A single value, however large, moves it by that factor and no more.

    Args:
        median: The median so far, any shape.
        value: New values, of the same shape.
        count: k, the number of values with the new one, of the same shape.

    Returns:
        A tensor of the same shape.

    Example:
        >>> next_median(torch.tensor([1.0, 1.0]), torch.tensor([1000.0, 0.5]), torch.tensor([25.0, 25.0]))
        tensor([1.1052, 0.9048])
    """
    return median * torch.exp(torch.sign(value - median) / (2 * count.sqrt()))


class AdaGC(ClipStrategy):
    r"""Scale the gradient of each parameter to at most `clip_factor` times its own usual norm.

    $$\hat g_i = \min\left(1, \frac{\text{clip\_factor} \cdot \gamma_i}{\lVert g_i \rVert}\right) g_i, \qquad
    \gamma_i \leftarrow \text{decay} \cdot \gamma_i + (1 - \text{decay}) x_i$$

    $x_i$ is what `history` makes of the norm. In the first `warmup_steps` steps of a parameter its gradient is scaled
    by the factor that brings the norm of all gradients to `max_norm`, and its level $\gamma_i$ follows the median of
    its norms (a running one: one number a parameter). A level is never taken below `floor` times the median of all
    levels. Gradients that are exactly zero say nothing about the level and are passed over; a step with a NaN or an
    infinity changes nothing.

    `history="accepted"` takes a rise for honest after 20 norms above the limit in a row.

    Args:
        clip_factor: Largest norm relative to the level; the paper's λ_rel.
        decay: Weight of the past in the level, in [0, 1); the paper's β.
        max_norm: Largest total norm while warming up, in the unit of the gradient of the loss; the paper's λ_abs.
        warmup_steps: The step, from 1, at which a parameter's own limit takes over; the paper's T_start.
        history: What enters the level: the norm as `"observed"`, `"clipped"`, `"winsorized"` to twice the limit, or
            only where `"accepted"`.
        floor: Smallest level, as a fraction of the median of the levels of all parameters.
        min_scale: Smallest factor, in [0, 1].
        paper: The exact rule: the level starts at the smallest norm of the warm-up, learns clipped norms, zeros
            included, and has no floor. Then one gradient of zero in the warm-up can freeze a parameter for good.
        eps: Smallest level and smallest norm that is divided by, in the unit of the gradient of the loss.

    Raises:
        ValueError: An argument is out of its range, or `paper` comes with a history, a floor or a smallest factor.

    Example:
        >>> AdaGC(1.1, warmup_steps=50).label
        'AdaGC(1.1, warmup_steps=50)'

    References:
        Guoxia Wang, Shuai Li, Congliang Chen, Jinle Zeng, Jiabin Yang, Dianhai Yu, Yanjun Ma, Li Shen, "AdaGC:
        Improving Training Stability for Large Language Model Pretraining", 2025, https://arxiv.org/abs/2502.11034.
        We depart from it, unless `paper=True`, where the level starts, in what it stores, in the floor, and in
        counting the warm-up for each parameter by itself, so that one that joins late has a warm-up too.
    """

    def __init__(
        self,
        clip_factor: float = 1.05,
        *,
        decay: float = 0.98,
        max_norm: float = 1.0,
        warmup_steps: int = 100,
        history: HistoryPolicy = "winsorized",
        floor: float = 0.01,
        min_scale: float = 0.0,
        paper: bool = False,
        eps: float = 1e-8,
    ) -> None:
        super().__init__()
        check_positive("AdaGC", clip_factor=clip_factor, max_norm=max_norm, eps=eps)
        check_decay("AdaGC", decay=decay)
        check_count("AdaGC", at_least=0, warmup_steps=warmup_steps)
        check_choice("AdaGC", POLICIES, history=history)
        check_fraction("AdaGC", floor=floor, min_scale=min_scale)
        if paper and (history, floor, min_scale) != ("winsorized", 0.01, 0.0):
            raise ArgumentError(
                f"AdaGC(paper=True, history={history!r}, floor={floor!r}, min_scale={min_scale!r}): "
                "the exact rule has none of the three; leave them out, or set paper=False."
            )
        self.clip_factor = clip_factor
        self.decay = decay
        self.max_norm = max_norm
        self.warmup_steps = warmup_steps
        self.history = history
        self.floor = floor
        self.min_scale = min_scale
        self.paper = paper
        self.eps = eps
        self.levels = PerParameter(level=math.inf, rejected=0.0)  # a level of `inf`: none yet
        self.clock = PerParameter(steps=0.0)

    def decide(self, grads: Gradients) -> Action:
        """Scale by the factor for all while warming up, later by `min(1, clip_factor * level / norm)`."""
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
        stored = observed & (fits | (rejected >= MAX_REJECTED))
        started = torch.minimum(level, value) if self.paper else next_median(level, value, step)
        learned = torch.where(warming, started, self.decay * level + (1 - self.decay) * value)
        learned = torch.where(level.isinf(), value, learned)
        rejected = torch.where(observed, torch.where(fits, 0.0, rejected + 1), rejected)
        self.levels.put(grads, torch.where(stored, learned, level), rejected)
        self.clock.put_rows(self._clocks(grads), step - 1 + (finite.view(1) if self.paper else observed))

    def _step(self, grads: Gradients) -> Tensor:
        """Which step this is, from 1: of each parameter, `(n,)`, or of all of them, `(1,)`."""
        (steps,) = self.clock.take_rows(self._clocks(grads), grads.norms())
        return steps + 1

    def _clocks(self, grads: Gradients) -> tuple[str, ...]:
        return ALL_PARAMETERS if self.paper else grads.names

    def _least_level(self) -> Tensor:
        levels = self.levels.get_buffer("level")
        median = torch.where(levels.isinf(), math.nan, levels).nanmedian()
        floor = 0.0 if self.paper else self.floor
        return (floor * median).nan_to_num(nan=0.0).clamp(min=self.eps)
