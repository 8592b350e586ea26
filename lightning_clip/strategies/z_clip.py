"""`ZClip`: clip norms that are many standard deviations above a moving average."""

import math
from collections.abc import Callable, Mapping
from typing import Literal, Self

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
from lightning_clip.functional.scalars import Scalar, invert, like, maximum, minimum, sqrt, where
from lightning_clip.functional.scaling import clip_coef

Mode = Literal["adaptive", "mean", "threshold"]

# What is left of an outlier, from its z-score, the mean, the standard deviation, `z_thresh` and `clip_factor`.
_LEFT: Mapping[str, Callable[[Scalar, Scalar, Scalar, float, float], Scalar]] = {
    "adaptive": lambda z, mean, std, z_thresh, factor: factor * (mean + (z_thresh * std) / (z / z_thresh)),
    "mean": lambda z, mean, std, z_thresh, factor: mean,
    "threshold": lambda z, mean, std, z_thresh, factor: mean + z_thresh * std,
}


class ZClip(TotalNormStrategy):
    r"""Scale down the gradients of a step whose total norm has a z-score above `z_thresh`.

    $$z_k = \frac{N_k - \mu}{\max(s, \delta\mu) + \epsilon}, \qquad
    z_k > z_t \;\Rightarrow\; \hat g = \frac{c_k}{N_k}\, g$$

    The mean is a moving average of the norms, and the standard deviation s is the root of a moving average of their
    squared deviations. `mode` determines c, what is left of an outlier:

    - `"adaptive"`: `clip_factor * (mean + z_thresh * s * z_thresh / z)`; the further out, the less is left.
    - `"mean"`: the mean.
    - `"threshold"`: `mean + z_thresh * s`, the largest norm that is not an outlier.

    During the first `warmup_steps` steps, norms are only clipped to `max_norm`. The averages then start at the median
    of these norms and 1.4826 times their median absolute deviation, which a spike among them does not move. (With a
    start from mean and variance, a spike of 1000 times the level would let norms of 10 times the level pass for the
    next 280 steps.) By default, an outlier enters the averages as the largest norm that is not an outlier. A single
    outlier of any size moves that threshold by 4%, and the rule follows a jump in the level to 8 times within 40 steps.
    Norms that are zero, NaN or infinite do not change the state.

    `ZClip.reference()` matches the authors' implementation number for number.

    Args:
        z_thresh: $z_t$, the largest z-score that is left unclipped.
        alpha: Decay of the moving averages in [0, 1), per optimizer step.
        warmup_steps: How many norms must be seen before the first outlier is clipped.
        mode: What is left of an outlier: `"adaptive"`, `"mean"` or `"threshold"`. The reference calls them
            `zscore/adaptive_scaling`, `zscore/mean` and `percentile` (although the last is not a percentile).
        clip_factor: Factor on what `"adaptive"` leaves, in (0, 1].
        max_norm: Largest total norm, whatever the averages; `None` for no such limit.
        eps: $\epsilon$, added to the standard deviation in the z-score.
        min_relative_std: $\delta$, the smallest standard deviation as a fraction of the mean. Without it, the slightest
            rise after a quiet period counts as an outlier.
        robust_warmup: Whether the averages start at the median and MAD of the first norms instead of their mean and
            variance.
        history: How an outlier enters the averages: `"observed"` stores its norm unchanged, `"clipped"` what `mode`
            leaves of it, `"winsorized"` the largest norm that is not an outlier, and `"accepted"` nothing (until more
            than 20 outliers in a row). `"clipped"` never follows a jump to 8 times in the first two modes, because they
            leave an outlier close to the mean.
        explosion: A norm above this multiple of the limit is an explosion and not a new level: after five in a row,
            only one in twenty is stored, as at most twice the limit. `inf` stores all.
        norm_eps: Added to the norm in the quotient; 0 is exact, 1e-6 matches the reference and torch.
        min_scale: Smallest scaling factor, in [0, 1].

    Raises:
        ArgumentTypeError: An argument has the wrong type.
        ArgumentError: An argument is out of range, or `mode` or `history` is unknown.

    Example:
        >>> ZClip(3.0, mode="mean").label
        "ZClip(3.0, mode='mean')"

    References:
        Abhay Kumar, Louis Owen, Nilabhra Roy Chowdhury, Fabian Güra, "ZClip: Adaptive Spike Mitigation for LLM
        Pre-Training", 2025, https://arxiv.org/abs/2504.02507, code https://github.com/bluorion-com/ZClip. Our defaults
        differ in `max_norm`, which is 1 there and hides the rule from most models, in the floor for the standard
        deviation, in the warmup, in the history (there `"clipped"`) and in the exact quotient.
    """

    def __init__(
        self,
        z_thresh: float = 2.5,
        *,
        alpha: float = 0.97,
        warmup_steps: int = 25,
        mode: Mode = "adaptive",
        clip_factor: float = 1.0,
        max_norm: float | None = None,
        eps: float = 1e-6,
        min_relative_std: float = 0.05,
        robust_warmup: bool = True,
        history: HistoryPolicy = "winsorized",
        explosion: float = EXPLOSION,
        norm_eps: float = 0.0,
        min_scale: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive("ZClip", z_thresh=z_thresh, clip_factor=clip_factor)
        if max_norm is not None:
            check_positive_finite("ZClip", max_norm=max_norm)
        check_fraction("ZClip", clip_factor=clip_factor, min_scale=min_scale)
        check_decay("ZClip", alpha=alpha)
        check_count("ZClip", warmup_steps=warmup_steps)
        check_choice("ZClip", tuple(_LEFT), mode=mode)
        check_choice("ZClip", POLICIES, history=history)
        check_explosion("ZClip", explosion)
        check_flag("ZClip", robust_warmup=robust_warmup)
        check_non_negative("ZClip", eps=eps, min_relative_std=min_relative_std, norm_eps=norm_eps)
        self.z_thresh = z_thresh
        self.alpha = alpha
        self.warmup_steps = warmup_steps
        self.mode = mode
        self.clip_factor = clip_factor
        self.max_norm = max_norm
        self.eps = eps
        self.min_relative_std = min_relative_std
        self.robust_warmup = robust_warmup
        self.history = history
        self.explosion = explosion
        self.norm_eps = norm_eps
        self.min_scale = min_scale
        self.moments = _Moments(alpha, warmup_steps, robust=robust_warmup)
        self.intake = Intake(history, factor=1.0, explosion=explosion)

    @classmethod
    def reference(
        cls,
        z_thresh: float = 2.5,
        *,
        alpha: float = 0.97,
        warmup_steps: int = 25,
        mode: Mode = "adaptive",
        clip_factor: float = 1.0,
        max_norm: float | None = 1.0,
        eps: float = 1e-6,
        skip_update_on_spike: bool = False,
    ) -> Self:
        """The authors' implementation: the same factors bit for bit if norms are float64.

        With float32 norms, we average in float32 and the authors in Python numbers. Three things differ on purpose:
        non-finite norms do not change the state (there, a single one switches the rule off for good), exact zeros do
        not change it either, and after more than 20 outliers in a row `skip_update_on_spike` stores norms again (there,
        never).

        Args:
            z_thresh: Largest z-score that is left unclipped.
            alpha: Decay of the moving averages.
            warmup_steps: How many norms must be seen before the first outlier is clipped.
            mode: `"adaptive"`, `"mean"` or `"threshold"`.
            clip_factor: Factor on what `"adaptive"` leaves, in (0, 1].
            max_norm: The authors' `max_grad_norm`; `None` for no such limit.
            eps: Added to the standard deviation in the z-score.
            skip_update_on_spike: Whether an outlier does not enter the averages at all, instead of as what is left of
                it.

        Returns:
            The strategy.
        """
        check_flag("ZClip.reference", skip_update_on_spike=skip_update_on_spike)
        return cls(
            z_thresh,
            alpha=alpha,
            warmup_steps=warmup_steps,
            mode=mode,
            clip_factor=clip_factor,
            max_norm=max_norm,
            eps=0.0 if mode == "threshold" else eps,  # in this mode the authors compare norms, not z-scores
            min_relative_std=0.0,
            robust_warmup=False,
            history="accepted" if skip_update_on_spike else "clipped",
            explosion=math.inf,
            norm_eps=1e-6,
        )

    def decide_on(self, norm: Scalar) -> Action:
        """Scale by `c / total norm` if the norm is an outlier."""
        moments = self.moments
        mean, var, started = moments.read(norm)
        std = maximum(sqrt(var), self.min_relative_std * mean)
        unit = std + self.eps
        edge = where(started, mean + self.z_thresh * unit, math.inf)
        z = (norm - mean) / unit
        left = _LEFT[self.mode](z, mean, std, self.z_thresh, self.clip_factor)
        limit = where(norm > edge, left, math.inf)
        moments.push(*self.intake.take(norm, limit if self.history == "clipped" else edge), started)
        if self.max_norm is not None:
            limit, edge = minimum(limit, self.max_norm), minimum(edge, self.max_norm)
        coef = clip_coef(norm, limit, eps=self.norm_eps, min_scale=self.min_scale)
        if self.norm_eps:  # as in the reference, torch's form shrinks a norm just below the limit in warmup only
            coef = where((norm > limit) | invert(started), coef, like(1.0, coef))
        return Scale(coef, edge)


class _Moments(RunningEstimates):
    """A moving mean and variance."""

    mean: Tensor
    var: Tensor

    def __init__(self, alpha: float, warmup_steps: int, *, robust: bool) -> None:
        super().__init__(warmup_steps, mean=0.0, var=0.0)
        self.alpha = alpha
        self.robust = robust

    def updated(self, value: Scalar) -> tuple[Scalar, Scalar]:
        mean = self.alpha * self.number("mean") + (1 - self.alpha) * value
        return mean, self.alpha * self.number("var") + (1 - self.alpha) * (value - mean) ** 2

    def initial(self) -> tuple[Scalar, Scalar]:
        if self.robust:
            median, mad = self.first.median_and_mad()
            return median, (1.4826 * mad) ** 2
        values = self.first.kept()
        mean = _sum_in_order(values) / self.first.size
        return mean, _sum_in_order((values - mean) ** 2) / self.first.size


def _sum_in_order(values: Tensor) -> Tensor:
    """The sum, rounded as in a loop on the CPU; running sums on other devices are not deterministic."""
    return values.cumsum(0)[-1] if values.device.type == "cpu" else values.sum()
