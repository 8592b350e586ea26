"""`EmaRatioClip`: clip norms far above a slow average down to a fast average."""

import math

from torch import Tensor

from lightning_clip._checks import check_choice, check_count, check_decay, check_fraction, check_positive_finite
from lightning_clip._errors import ArgumentError
from lightning_clip.core.actions import Action, Scale
from lightning_clip.core.state import POLICIES, HistoryPolicy, Intake, RunningEstimates
from lightning_clip.core.total_norm_strategy import TotalNormStrategy
from lightning_clip.functional.scalars import Scalar, lerp, maximum, where
from lightning_clip.functional.scaling import clip_coef


class EmaRatioClip(TotalNormStrategy):
    r"""Scale a total norm above `trigger` times its slow average down to `target` times its fast average.

    $$N_k > \max(r\,S_{k-1},\ t\,F_{k-1}) \;\Rightarrow\; \hat g = \frac{t\,F_{k-1}}{N_k}\, g, \qquad
    F_k = \alpha F_{k-1} + (1 - \alpha)\, x_k, \quad S_k = \beta S_{k-1} + (1 - \beta)\, x_k$$

    With two limits instead of one, ordinary fluctuations are left alone, and a clipped norm ends near its usual size
    rather than at the edge of what is tolerated. This is a good adaptive rule to start with: it has no scale to tune,
    and a single bad step costs it nothing.

    The value x that enters the averages determines how the rule handles spikes and genuine changes. With the default
    `"winsorized"`, a clipped norm counts as at most twice what was left of it. A single spike of any size moves the
    trigger by 1.2%, and the rule follows a jump of the level to 8 times within 80 steps, the pace of the slow average
    itself.

    Nothing is clipped during the first `warmup_steps` steps. Both averages start at the (lower) median of these norms.
    This ignores a spike among them or a steep start of the run, and leaves no bias to correct. Norms that are zero, NaN
    or infinite do not change the state.

    Args:
        trigger: r, the multiple of the slow average above which a norm is clipped; greater than `target`.
        target: t, the multiple of the fast average that a clipped norm is brought down to.
        fast: $\alpha$, the decay of the fast average in [0, 1), per optimizer step.
        slow: $\beta$, the decay of the slow average in [0, 1), per optimizer step.
        history: How a norm enters the averages: `"observed"` stores it unchanged, `"clipped"` after clipping,
            `"winsorized"` at most at twice what clipping left of it, and `"accepted"` only if it was not clipped (or
            after more than 20 clipped norms in a row).
        warmup_steps: How many norms must be seen before the first step is clipped.
        min_scale: Smallest scaling factor, in [0, 1].

    Raises:
        ArgumentTypeError: An argument has the wrong type.
        ArgumentError: `trigger` is not greater than `target`, one of them is not positive, a decay is outside [0, 1),
            `warmup_steps` is below 1, `min_scale` is outside [0, 1], or `history` is unknown.

    Example:
        >>> EmaRatioClip(3.0).label
        'EmaRatioClip(3.0)'

    References:
        The authors of "PDE-Transformer", `EmaGradClip`, 2025, https://github.com/tum-pbs/pde-transformer. It stores
        what was left of a clipped norm, as `history="clipped"` does. We differ in the start (there from the first norm,
        with bias correction), in the default history, in the exact quotient (there 1e-6 is added to the norm), in never
        raising a norm when the fast average is far above the slow one, and in skipping non-finite norms.
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
        min_scale: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive_finite("EmaRatioClip", trigger=trigger, target=target)
        if trigger <= target:
            raise ArgumentError(
                f"EmaRatioClip(trigger={trigger}, target={target}): trigger must be greater than target."
            )
        check_decay("EmaRatioClip", fast=fast, slow=slow)
        check_count("EmaRatioClip", warmup_steps=warmup_steps)
        check_fraction("EmaRatioClip", min_scale=min_scale)
        check_choice("EmaRatioClip", POLICIES, history=history)
        self.trigger = trigger
        self.target = target
        self.fast = fast
        self.slow = slow
        self.history = history
        self.warmup_steps = warmup_steps
        self.min_scale = min_scale
        self.levels = _Levels(fast, slow, warmup_steps)
        self.intake = Intake(history)

    def decide_on(self, norm: Scalar) -> Action:
        """Scale by `target * F / total norm` if the norm is above `trigger * S`."""
        fast, slow, started = self.levels.read(norm)
        left = self.target * fast
        threshold = where(started, maximum(self.trigger * slow, left), math.inf)
        limit = where(norm > threshold, left, math.inf)
        self.levels.push(*self.intake.take(norm, limit), started)
        return Scale(clip_coef(norm, limit, min_scale=self.min_scale), threshold)


class _Levels(RunningEstimates):
    """A fast and a slow moving average that both start at the median of the first norms."""

    fast: Tensor
    slow: Tensor

    def __init__(self, fast_decay: float, slow_decay: float, warmup_steps: int) -> None:
        super().__init__(warmup_steps, fast=0.0, slow=0.0)
        self.fast_decay = fast_decay
        self.slow_decay = slow_decay

    def initial(self) -> tuple[Scalar, Scalar]:
        median = self.first.quantile(0.5)
        return median, median

    def updated(self, value: Scalar) -> tuple[Scalar, Scalar]:
        fast, slow = self.number("fast"), self.number("slow")
        return lerp(fast, value, 1 - self.fast_decay), lerp(slow, value, 1 - self.slow_decay)
