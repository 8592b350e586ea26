"""`SkipAbove`: skip optimizer steps whose norm is above a fixed limit."""

import math

from torch import Tensor

from lightning_clip._checks import check_fraction, check_positive
from lightning_clip.core.actions import Action, Scale, Sequential, Skip
from lightning_clip.core.state import SkipBudget
from lightning_clip.core.total_norm_strategy import TotalNormStrategy
from lightning_clip.functional.scalars import Scalar
from lightning_clip.functional.scaling import clip_coef

_SAVED_SKIPS = 10


class SkipAbove(TotalNormStrategy):
    r"""Skip the optimizer step if the total norm is above a fixed limit.

    $$\text{skip where } N > \text{max\_norm}$$

    A skipped step changes neither parameters nor optimizer state; learning-rate schedulers and the step count go on.
    Unlike `SkipSpikes`, the rule needs no history, so it acts from the first step on, and never takes a rise for a new
    level. Choose a limit far above every healthy norm, or nothing is learned from the steps above it.

    With `max_fraction` below 1, no more than this fraction of the steps so far is skipped; the rest is clipped to
    `max_norm`. At most ten skips are saved up. A NaN or infinite norm is not skipped: use `NonFiniteGuard` for those.
    On an accelerator, the decision is read from the device once per step.

    Args:
        max_norm: Largest total norm that is not skipped, in the unit of the loss gradient; `inf` never skips.
        max_fraction: The largest fraction of all steps to skip, above 0 and at most 1; 1 for no such limit.

    Raises:
        ArgumentTypeError: An argument is not a number.
        ArgumentError: `max_norm` is not positive, or `max_fraction` is not above 0 and at most 1.

    Example:
        >>> SkipAbove(100.0)
        SkipAbove(max_norm=100.0, max_fraction=1.0)

    References:
        NVIDIA, "Megatron-LM", `grad_norm_skip_threshold`, 2025, https://github.com/NVIDIA/Megatron-LM, whose default is
        `inf` too, and Optax, `skip_large_updates`, 2021, https://github.com/google-deepmind/optax, which compares the
        squared norm and also skips one that equals the limit. Neither limits how many steps are skipped.
    """

    scheduled_arg = "max_norm"

    def __init__(self, max_norm: float = float("inf"), *, max_fraction: float = 1.0) -> None:
        super().__init__()
        check_positive("SkipAbove", max_norm=max_norm, max_fraction=max_fraction)
        check_fraction("SkipAbove", max_fraction=max_fraction)
        self.max_norm = max_norm
        self.max_fraction = max_fraction
        self.budget = SkipBudget(max_fraction, burst=_SAVED_SKIPS)

    def decide_on(self, norm: Scalar) -> Action:
        """Skip a step above the limit, or clip it if too many have been skipped."""
        counts = (norm < math.inf) & (norm > 0)
        skip = self.budget.take(counts & (norm > self.max_norm), counts)
        scale = Scale(clip_coef(norm, self.max_norm), self.max_norm)
        return Sequential([Skip(skip), scale]) if isinstance(norm, Tensor) or skip else scale
