"""`EmaRatioClip`: clip norms far above a slow average down to a fast average."""

import math
from typing import Self

from torch import Tensor

from lightning_clip._checks import (
    check_choice,
    check_count,
    check_decay,
    check_flag,
    check_fraction,
    check_non_negative,
    check_positive,
    check_positive_finite,
)
from lightning_clip._errors import ArgumentError
from lightning_clip.core.actions import Action, Scale
from lightning_clip.core.state import (
    EXPLOSION,
    POLICIES,
    HistoryPolicy,
    Intake,
    RunningEstimates,
    check_explosion,
)
from lightning_clip.core.total_norm_strategy import TotalNormStrategy
from lightning_clip.functional.averaging import average_gain
from lightning_clip.functional.scalars import Scalar, choose, lerp, like, maximum, minimum, where
from lightning_clip.functional.scaling import clip_coef


class EmaRatioClip(TotalNormStrategy):
    r"""Scale a total norm above `trigger` times its slow average down to `target` times its fast average.

    $$N_k > \max(r\,S_{k-1},\ t\,F_{k-1}) \;\Rightarrow\; \hat g = \frac{t\,F_{k-1}}{N_k}\, g, \qquad
    F_k = \alpha F_{k-1} + (1 - \alpha)\, x_k, \quad S_k = \beta S_{k-1} + (1 - \beta)\, x_k$$

    With two limits instead of one, ordinary fluctuations are left alone, and a clipped norm ends near its usual size
    rather than at the edge of what is tolerated. This is the adaptive rule to start with, because it protects a run
    from its first step on:

    - During the first `warmup_steps` steps, norms are clipped to `start_norm`. Both averages then start at the (lower)
      median of what was left, so neither a spike nor an explosion at the start sets the level.
    - A single spike of any size moves the trigger by 1.2%. The rule follows a jump of the level to 8 times within 80
      steps.
    - An explosion that lasts for 250 steps raises the limit to at most 10 times the level, whatever its size.
    - A norm above `max_norm` is never left.

    Norms that ought to be above `max_norm` are clipped at every step. With SGD, that acts as a smaller learning rate,
    and the report says so. `EmaRatioClip(start_norm=math.inf, max_norm=math.inf)` depends on no scale, and protects no
    first steps. The value x that enters the averages determines how the rule handles spikes and genuine changes. Norms
    that are zero, NaN or infinite do not change the state.

    Args:
        trigger: r, the multiple of the slow average above which a norm is clipped; greater than `target`.
        target: t, the multiple of the fast average that a clipped norm is brought down to.
        fast: $\alpha$, the decay of the fast average in [0, 1), per optimizer step.
        slow: $\beta$, the decay of the slow average in [0, 1), per optimizer step.
        history: How a norm enters the averages: `"observed"` stores it unchanged, `"clipped"` after clipping,
            `"winsorized"` at most at twice what clipping left of it, and `"accepted"` only if it was not clipped (or
            after more than 20 clipped norms in a row).
        warmup_steps: How many norms must be seen before the averages start.
        start_norm: Largest total norm during the warmup, in the unit of the loss gradient.
        max_norm: Largest total norm after it.
        bias_correction: Whether later norms weigh more while few are known, as in an average that started at zero.
        explosion: A norm above this multiple of the limit is an explosion and not a new level: after five in a row,
            only one in twenty is stored, as at most twice the limit. `inf` stores all.
        norm_eps: Added to the norm in the quotient; 0 is exact, 1e-6 matches the source and torch.
        min_scale: Smallest scaling factor, in [0, 1].

    Raises:
        ArgumentTypeError: An argument has the wrong type.
        ArgumentError: `trigger` is not greater than `target`, another argument is out of range, or `history` is
            unknown.

    Example:
        >>> EmaRatioClip(3.0).label
        'EmaRatioClip(3.0)'

    References:
        The authors of "PDE-Transformer", `EmaGradClip`, 2025, https://github.com/tum-pbs/pde-transformer.
        `EmaRatioClip.reference()` is their rule. Our defaults differ in the warmup, in `max_norm`, in the history
        (there `"clipped"`, and every explosion is stored) and in the exact quotient.
    """

    def __init__(
        self,
        trigger: float = 2.0,
        *,
        target: float = 1.1,
        fast: float = 0.9,
        slow: float = 0.99,
        history: HistoryPolicy = "winsorized",
        warmup_steps: int = 10,
        start_norm: float = 1.0,
        max_norm: float = 16.0,
        bias_correction: bool = False,
        explosion: float = EXPLOSION,
        norm_eps: float = 0.0,
        min_scale: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive_finite("EmaRatioClip", trigger=trigger, target=target)
        if trigger <= target:
            raise ArgumentError(
                f"EmaRatioClip(trigger={trigger}, target={target}): trigger must be greater than target."
            )
        check_positive("EmaRatioClip", start_norm=start_norm, max_norm=max_norm)
        check_decay("EmaRatioClip", fast=fast, slow=slow)
        if fast > slow:
            raise ArgumentError(f"EmaRatioClip(fast={fast!r}, slow={slow!r}): fast must not be above slow.")
        check_count("EmaRatioClip", warmup_steps=warmup_steps)
        check_fraction("EmaRatioClip", min_scale=min_scale)
        check_non_negative("EmaRatioClip", norm_eps=norm_eps)
        check_choice("EmaRatioClip", POLICIES, history=history)
        check_explosion("EmaRatioClip", explosion)
        check_flag("EmaRatioClip", bias_correction=bias_correction)
        self.trigger = trigger
        self.target = target
        self.fast = fast
        self.slow = slow
        self.history = history
        self.warmup_steps = warmup_steps
        self.start_norm = start_norm
        self.max_norm = max_norm
        self.bias_correction = bias_correction
        self.explosion = explosion
        self.norm_eps = norm_eps
        self.min_scale = min_scale
        self.levels = _Levels(fast, slow, warmup_steps, bias_correction=bias_correction)
        self.intake = Intake(history, explosion=explosion)

    @classmethod
    def reference(cls, trigger: float = 2.0, *, target: float = 1.1, fast: float = 0.9, slow: float = 0.99) -> Self:
        """The authors' rule: the same factors, up to the rounding of the norms, from the second step on.

        Three things differ on purpose: a first norm above 10,000 is not clipped (there, to 1); a norm above the trigger
        but below the target is stored as it is (there, as the target); and norms that are zero, NaN or infinite are not
        stored (there, a single one poisons both averages).

        Args:
            trigger: The authors' `max_norm_ratio`.
            target: The authors' `clip_norm_ratio`.
            fast: The authors' `ema_coef1`.
            slow: The authors' `ema_coef2`.

        Returns:
            The strategy.
        """
        return cls(
            trigger,
            target=target,
            fast=fast,
            slow=slow,
            history="clipped",
            warmup_steps=1,
            start_norm=math.inf,
            max_norm=math.inf,
            bias_correction=True,
            explosion=math.inf,
            norm_eps=1e-6,
        )

    def decide_on(self, norm: Scalar) -> Action:
        """Scale by `target * F / total norm` if the norm is above `trigger * S`."""
        fast, slow, started = self.levels.read(norm)
        start, most, none = (like(number, norm) for number in (self.start_norm, self.max_norm, math.inf))
        left = minimum(self.target * fast, most)
        threshold = minimum(maximum(self.trigger * slow, left), most)
        limit = where(norm > threshold, left, none)
        value, keep = self.intake.take(norm, where(started, limit, none))
        self.levels.push(choose(started, lambda: value, lambda: minimum(value, start)), keep, started)
        coef = clip_coef(norm, where(started, limit, start), eps=self.norm_eps, min_scale=self.min_scale)
        return Scale(coef, where(started, threshold, start))


class _Levels(RunningEstimates):
    """A fast and a slow moving average that both start at the median of the first norms."""

    fast: Tensor
    slow: Tensor

    def __init__(self, fast_decay: float, slow_decay: float, warmup_steps: int, *, bias_correction: bool) -> None:
        super().__init__(warmup_steps, fast=0.0, slow=0.0)
        self.fast_decay = fast_decay
        self.slow_decay = slow_decay
        self.bias_correction = bias_correction

    def initial(self) -> tuple[Scalar, Scalar]:
        median = self.first.quantile(0.5)
        return median, median

    def updated(self, value: Scalar) -> tuple[Scalar, Scalar]:
        fast, slow = self.number("fast"), self.number("slow")
        return self._averaged(fast, value, self.fast_decay), self._averaged(slow, value, self.slow_decay)

    def _averaged(self, mean: Scalar, value: Scalar, decay: float) -> Scalar:
        if not self.bias_correction:
            return lerp(mean, value, 1 - decay)
        count = self.first.number("count")  # `push` has counted this value already
        if isinstance(count, Tensor):
            return mean + average_gain(decay, count.to(mean.dtype)) * (value - mean)
        return mean + type(mean)((1 - decay) / -math.expm1(int(count) * math.log(decay or 5e-324))) * (value - mean)
