"""`GrowthLimitClip`: limit how fast the norm may grow from one step to the next."""

import math
from typing import Literal, Self

import torch
from torch import Tensor

from lightning_clip._checks import check_choice, check_decay, check_fraction, check_positive
from lightning_clip._errors import ArgumentError
from lightning_clip.core.actions import Action, Keep, Scale, ScaleEach
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.state import ALL_PARAMETERS, PerParameter, has_signal, to_store
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.averaging import next_average
from lightning_clip.functional.scaling import clip_coef


class GrowthLimitClip(ClipStrategy):
    r"""Limit the norm of each gradient to `ratio` times the norm it had after clipping at the previous step.

    $$\lVert \hat g_k \rVert = \min\left(\lVert g_k \rVert,\;
    \text{ratio} \cdot \max(\lVert \hat g_{k-1} \rVert,\; \text{floor} \cdot S_{k-1})\right)$$

    $S$ is the geometric moving average of the norms, winsorized to twice the limit. Without it (`floor=0`), one small
    gradient holds down all later ones for hundreds of steps: at 1% per step, growth by a factor of 10 takes 231 steps.
    The first gradient is left unchanged. Zero gradients are skipped. A step with a NaN or infinite gradient does not
    change the state.

    Args:
        ratio: Largest growth of the norm from one step to the next, above 1.
        per: `"parameter"` limits each gradient by itself; `"global"` limits the total norm, which keeps the direction.
        floor: Smallest norm that growth starts from, as a fraction of the moving average, in [0, 1].
        decay: Weight of the past in the moving average, in [0, 1).
        min_scale: Smallest scaling factor, in [0, 1].

    Raises:
        ArgumentTypeError: An argument has the wrong type.
        ArgumentError: `ratio` is not above 1, or another argument is out of range.

    Example:
        >>> GrowthLimitClip(1.05, per="global").label
        "GrowthLimitClip(1.05, per='global')"

    References:
        Xi Chen, Kaituo Feng, Changsheng Li, Xunhao Lai, Xiangyu Yue, Ye Yuan, Guoren Wang, "Fira: Can We Achieve
        Full-rank Training of LLMs Under Low-rank Constraint?", 2024, https://arxiv.org/abs/2410.01623 (norm-growth
        limiter). The paper limits its residual term, without a floor, and restarts from 1e-8 after a zero.
    """

    def __init__(
        self,
        ratio: float = 1.01,
        *,
        per: Literal["parameter", "global"] = "parameter",
        floor: float = 0.5,
        decay: float = 0.99,
        min_scale: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive("GrowthLimitClip", ratio=ratio)
        if ratio <= 1:
            raise ArgumentError(f"GrowthLimitClip(ratio={ratio!r}): ratio must be above 1, or norms could only fall.")
        check_choice("GrowthLimitClip", ("parameter", "global"), per=per)
        check_decay("GrowthLimitClip", decay=decay)
        check_fraction("GrowthLimitClip", floor=floor, min_scale=min_scale)
        self.ratio = ratio
        self.per = per
        self.floor = floor
        self.decay = decay
        self.min_scale = min_scale
        self.state = PerParameter(last=math.inf, log_mean=0.0, steps=0.0)

    @classmethod
    def reference(cls, ratio: float = 1.01) -> Self:
        """Fira's limiter with its constant, to a relative 1e-8 / norm; on each gradient, and a zero is skipped.

        Args:
            ratio: The source's γ.

        Returns:
            The strategy.
        """
        return cls(ratio, floor=0.0)

    def decide(self, grads: Gradients) -> Action:
        """Scale by `min(1, ratio * max(last, floor * mean) / norm)`."""
        if not len(grads):
            return Keep()
        if self.per == "parameter":
            return ScaleEach(self._coefs(grads, grads.names, grads.norms())[0])
        coefs, limits = self._coefs(grads, ALL_PARAMETERS, grads.total_norm().view(1))
        return Scale(coefs.squeeze(0), limits.squeeze(0))

    def _coefs(self, grads: Gradients, names: tuple[str, ...], norms: Tensor) -> tuple[Tensor, Tensor]:
        """The factors on the norms and the limits they follow from, each `(n,)`; updates the state."""
        last, log_mean, steps = self.state.take_rows(names, norms)
        limits = self.ratio * torch.maximum(last, self.floor * log_mean.exp())
        coefs = clip_coef(norms, limits, min_scale=self.min_scale)
        value, _ = to_store("winsorized", norms, limits)
        observed = has_signal(grads, norms)
        average = next_average(log_mean, value.log(), decay=self.decay, count=steps)
        self.state.put_rows(
            names,
            torch.where(observed, coefs * norms, last),
            torch.where(observed, average, log_mean),
            steps + observed,
        )
        return coefs, limits
