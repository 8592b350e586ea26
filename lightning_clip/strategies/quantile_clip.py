"""`QuantileClip`: clip the total norm to a quantile that is tracked in small steps."""

import math

from torch import Tensor

from lightning_clip._checks import check_count, check_fraction, check_positive, check_positive_finite
from lightning_clip._errors import ArgumentError
from lightning_clip.core.actions import Action, Scale
from lightning_clip.core.state import EXPLOSION, Intake, RunningEstimates, check_explosion
from lightning_clip.core.total_norm_strategy import TotalNormStrategy
from lightning_clip.functional.scalars import Scalar, where
from lightning_clip.functional.scaling import clip_coef


class QuantileClip(TotalNormStrategy):
    r"""Scale all gradients so that their total norm is at most a running estimate of a quantile of the norms.

    $$c_{k+1} = c_k \exp\left(\eta\,(\gamma - [N_k \le c_k])\right), \qquad \hat g = \min(1, c_k / N_k)\, g$$

    A norm above the limit raises the limit by a fraction of `rate * quantile`; any other norm lowers it by a fraction
    of `rate * (1 - quantile)`. The limit settles where the fraction `quantile` of the norms lies below it. The estimate
    is a single number. How far a norm exceeds the limit does not matter: with the defaults, a spike of any size raises
    the limit by 4.6%. In return, the limit follows a jump in the level at a fixed pace: up to 8 times in about 50
    steps, down to an eighth in 420.

    The first `warmup_steps` norms are not clipped. The limit starts at the quantile of these norms, rounded down to one
    of them and so below the largest, which ignores a spike among them. Norms that are zero, NaN or infinite do not
    change the state.

    Args:
        quantile: $\gamma$, the fraction of steps that should not be clipped, strictly between 0 and 1.
        rate: $\eta$, the pace, as a fraction of the limit per optimizer step.
        warmup_steps: How many norms must be seen before the first step is clipped; at least 2, so that the limit can
            start below a spike.
        explosion: A norm above this multiple of the limit is an explosion and not a new level: after five in a row,
            only one in twenty is stored, as at most twice the limit. `inf` stores all.
        min_scale: Smallest scaling factor, in [0, 1].

    Raises:
        ArgumentTypeError: An argument has the wrong type.
        ArgumentError: `quantile` is not strictly between 0 and 1, `rate` is not positive, `warmup_steps` is below 2, or
            `min_scale` is outside [0, 1].

    Example:
        >>> QuantileClip(0.95).label
        'QuantileClip(0.95)'

    References:
        Galen Andrew, Om Thakkar, H. Brendan McMahan, Swaroop Ramaswamy, "Differentially Private Learning with Adaptive
        Clipping", 2019, https://arxiv.org/abs/1905.03871. There, many norms per step give a fraction, and the rate is
        0.2. Here, one norm gives 0 or 1, so the rate is smaller, and there is no preset `reference()`. The start from
        the first norms is ours.
    """

    def __init__(
        self,
        quantile: float = 0.9,
        *,
        rate: float = 0.05,
        warmup_steps: int = 10,
        explosion: float = EXPLOSION,
        min_scale: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive("QuantileClip", quantile=quantile)
        check_fraction("QuantileClip", quantile=quantile, min_scale=min_scale)
        if quantile == 1:
            raise ArgumentError(
                f"QuantileClip(quantile={quantile}): quantile must be below 1; at 1 the limit only rises."
            )
        check_positive_finite("QuantileClip", rate=rate)
        check_count("QuantileClip", at_least=2, warmup_steps=warmup_steps)
        check_explosion("QuantileClip", explosion)
        self.quantile = quantile
        self.rate = rate
        self.warmup_steps = warmup_steps
        self.explosion = explosion
        self.min_scale = min_scale
        self.estimate = _Estimate(quantile, rate, warmup_steps)
        self.intake = Intake("observed", explosion=explosion)

    def decide_on(self, norm: Scalar) -> Action:
        """Scale by `min(1, estimate / total norm)`."""
        threshold, started = self.estimate.read(norm)
        self.estimate.push(*self.intake.take(norm, threshold), started)
        return Scale(clip_coef(norm, threshold, min_scale=self.min_scale), threshold)


class _Estimate(RunningEstimates):
    """The limit; `inf` until the first norms are known."""

    limit: Tensor

    def __init__(self, quantile: float, rate: float, warmup_steps: int) -> None:
        super().__init__(warmup_steps, limit=math.inf)
        self.quantile = quantile
        self.up = math.exp(rate * quantile)
        self.down = math.exp(-rate * (1 - quantile))

    def initial(self) -> tuple[Scalar]:
        return (where(self.first.full(), self.first.quantile(self.quantile), math.inf),)

    def updated(self, value: Scalar) -> tuple[Scalar]:
        limit = self.number("limit")
        return (where(value <= limit, limit * self.down, limit * self.up),)
