"""`QuantileClip`: the limit follows a quantile of the norms, one small step at a time."""

import math

import torch
from torch import Tensor

from lightning_clip._checks import check_count, check_fraction, check_positive, check_positive_finite
from lightning_clip._errors import ArgumentError
from lightning_clip.core.actions import Action, Keep, Scale
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.state import Intake, RunningEstimates
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.scaling import clip_coef


class QuantileClip(ClipStrategy):
    r"""Scale all gradients so that their total norm is at most a running estimate of a quantile of the norms.

    $$c_{k+1} = c_k \exp\left(\eta\,(\gamma - [N_k \le c_k])\right), \qquad \hat g = \min(1, c_k / N_k)\, g$$

    A norm above the limit raises it by `rate * quantile` of its size, any other lowers it by `rate * (1 - quantile)`;
    it rests where the fraction `quantile` of the norms is below. The estimate is one number. How far a norm lies
    above does not matter: a spike of any size raises the limit by 4.6 % with the defaults. The other side of it is
    that the limit follows a jump of the level at a fixed pace: to 8 times in about 50 steps, to an eighth in 420.

    The first `warmup_steps` norms are not clipped. The limit starts at that quantile of them, rounded down to one of
    them and thus below the largest, so that a spike among them is passed over. Norms that are zero or not finite
    change nothing.

    Args:
        quantile: $\gamma$, the fraction of steps that should not be clipped, strictly between 0 and 1.
        rate: $\eta$, the pace, as a fraction of the limit per optimizer step.
        warmup_steps: How many norms are seen before the first step is clipped; at least 2, for a start below a spike.
        min_scale: Smallest factor on the gradients, in [0, 1].

    Raises:
        ValueError: `quantile` is not strictly between 0 and 1, `rate` is not positive, `warmup_steps` is below 2, or
            `min_scale` is outside [0, 1].

    Example:
        >>> QuantileClip(0.95)
        QuantileClip(quantile=0.95, rate=0.05, warmup_steps=10, min_scale=0.0)

    References:
        Galen Andrew, Om Thakkar, H. Brendan McMahan, Swaroop Ramaswamy, "Differentially Private Learning with
        Adaptive Clipping", 2019, https://arxiv.org/abs/1905.03871. There many norms a step give a fraction and the
        rate is 0.2; here one norm gives 0 or 1, hence the smaller rate. The start from first norms is ours.
    """

    def __init__(
        self, quantile: float = 0.9, *, rate: float = 0.05, warmup_steps: int = 10, min_scale: float = 0.0
    ) -> None:
        super().__init__()
        check_positive("QuantileClip", quantile=quantile)
        check_fraction("QuantileClip", quantile=quantile, min_scale=min_scale)
        if quantile == 1:
            raise ArgumentError(
                f"QuantileClip(quantile={quantile}): quantile must be below 1, where the limit only rises."
            )
        check_positive_finite("QuantileClip", rate=rate)
        check_count("QuantileClip", at_least=2, warmup_steps=warmup_steps)
        self.quantile = quantile
        self.rate = rate
        self.warmup_steps = warmup_steps
        self.min_scale = min_scale
        self.estimate = _Estimate(quantile, rate, warmup_steps)
        self.intake = Intake("observed")

    def decide(self, grads: Gradients) -> Action:
        """Scale by `min(1, estimate / total norm)`."""
        if not len(grads):
            return Keep()
        norm = grads.total_norm()
        threshold, started = self.estimate.read(norm)
        self.estimate.push(*self.intake.take(norm, threshold), started)
        return Scale(clip_coef(norm, threshold, min_scale=self.min_scale), threshold)


class _Estimate(RunningEstimates):
    """The limit; `inf` until the first norms are there."""

    limit: Tensor

    def __init__(self, quantile: float, rate: float, warmup_steps: int) -> None:
        super().__init__(warmup_steps, limit=math.inf)
        self.quantile = quantile
        self.up = math.exp(rate * quantile)
        self.down = math.exp(-rate * (1 - quantile))

    def initial(self) -> tuple[Tensor]:
        return (torch.where(self.first.full(), self.first.quantile(self.quantile), torch.inf),)

    def updated(self, value: Tensor) -> tuple[Tensor]:
        return (torch.where(value <= self.limit, self.limit * self.down, self.limit * self.up),)
