"""`SkipSpikes`: skip optimizer steps whose norm is far above the latest norms."""

import torch
from torch import Tensor

from lightning_clip._checks import check_count, check_fraction, check_positive
from lightning_clip.core.actions import Action, Scale, Sequential, Skip
from lightning_clip.core.state import Intake, SkipBudget, Window
from lightning_clip.core.total_norm_strategy import TotalNormStrategy
from lightning_clip.functional.scalars import Scalar, as_tensor, scalar, where
from lightning_clip.functional.scaling import clip_coef
from lightning_clip.strategies.robust_clip import robust_threshold


class SkipSpikes(TotalNormStrategy):
    r"""Skip the optimizer step if the total norm is more than k robust standard deviations above the median.

    $$\text{skip where } N > m + k \max(1.4826\,\mathrm{MAD},\ 0.05\,m)$$

    m and MAD are the median and the median absolute deviation of the latest norms, including skipped steps but not the
    current one. A skipped step changes neither parameters nor optimizer state; learning-rate schedulers and the step
    count go on. After `max_consecutive` skips in a row, the rise counts as genuine: steps are no longer skipped but
    clipped to the limit, until a norm is within it. The median follows a genuine rise within `window / 2` steps.

    At no time has more than `max_fraction` of the steps so far been skipped; spikes beyond that are clipped to the
    limit too. So a class of batches that recurs is learned from instead of being dropped forever. With the defaults,
    the first step that may be skipped is the hundredth, and a quiet time saves up at most five skips.

    Until `window / 2` norms are known, only a norm above 32 times the limit is skipped or clipped, and nothing before
    `window / 8` are. Of such norms, only one in twenty is remembered after five in a row, so an explosion is no new
    level. Norms that are zero, NaN or infinite are neither stored nor skipped: use a guard against non-finite gradients
    for those. On an accelerator, the decision is read from the device once per step.

    Args:
        k: How many standard deviations a norm may be above the median.
        window: How many norms to remember, in optimizer steps; at least 2.
        max_consecutive: How many steps in a row may be skipped.
        max_fraction: The largest fraction of all steps to skip, above 0 and at most 1; 1 for no such limit.

    Raises:
        ArgumentTypeError: An argument has the wrong type.
        ArgumentError: `k` is not positive, `window` is below 2, `max_consecutive` is below 1, or `max_fraction` is not
            above 0 and at most 1.

    Example:
        >>> SkipSpikes()
        SkipSpikes(k=6.0, window=128, max_consecutive=5, max_fraction=0.01)

    References:
        Team OLMo, "2 OLMo 2 Furious", 2024, https://arxiv.org/abs/2501.00656, and its code, `SkipStepOptimizer`: mean
        plus 6 standard deviations of the latest 128 norms and losses. We differ in using the median and the MAD, which
        earlier spikes do not widen, in limiting the number of skips, and in looking at norms alone. So there is no
        preset `reference()`.
    """

    spikes_in_a_row: Tensor

    def __init__(
        self, k: float = 6.0, *, window: int = 128, max_consecutive: int = 5, max_fraction: float = 0.01
    ) -> None:
        super().__init__()
        check_positive("SkipSpikes", k=k)
        check_count("SkipSpikes", at_least=2, window=window)
        check_count("SkipSpikes", max_consecutive=max_consecutive)
        check_positive("SkipSpikes", max_fraction=max_fraction)
        check_fraction("SkipSpikes", max_fraction=max_fraction)
        self.k = k
        self.window = window
        self.max_consecutive = max_consecutive
        self.max_fraction = max_fraction
        self.norms = Window(window)
        self.intake = Intake("observed")
        self.budget = SkipBudget(max_fraction, burst=max_consecutive)
        self.register_buffer("spikes_in_a_row", torch.zeros((), dtype=torch.int64))

    def decide_on(self, norm: Scalar) -> Action:
        """Skip a spike, or clip it after too many skips in a row."""
        norms = self.norms
        threshold = robust_threshold(norms, norm, self.k, min_history=self.window // 2, min_relative_std=0.05)
        counts = (norm < torch.inf) & (norm > 0)
        before = scalar(self.spikes_in_a_row.to(norm.device) if isinstance(norm, Tensor) else self.spikes_in_a_row)
        spike = counts & (norm > threshold)
        if isinstance(norm, Tensor) or spike or (before and counts):  # otherwise the count stays 0, or as it is
            self.spikes_in_a_row = as_tensor(where(counts, (before + 1) * spike, before))
        norms.push(*self.intake.take(norm, threshold))
        skip = self.budget.take(spike & (before < self.max_consecutive), counts)
        scale = Scale(clip_coef(norm, threshold), threshold)
        return Sequential([Skip(skip), scale]) if isinstance(norm, Tensor) or skip else scale
