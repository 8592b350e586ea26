"""`SkipBudget`: allows at most a stated fraction of the steps to be skipped."""

import math

import torch
from torch import Tensor

from lightning_clip.core.state.state import State
from lightning_clip.functional.scalars import Scalar, as_tensor, maximum, where


class SkipBudget(State):
    """Counts steps and skips, and says whether one more step may be skipped.

    At no time have more than `fraction` of the steps so far been skipped. Each skip takes `1 / fraction` steps to earn,
    and at most `burst` skips can be saved up, so a long quiet time does not pay for a long gap.

    Args:
        fraction: The largest fraction of steps to skip, above 0 and at most 1.
        burst: How many skips can be saved up.

    Attributes:
        count: The number of steps so far, int64 `()`.
        due: The number of the first step, counted from 1, that may be skipped, int64 `()`.

    Example:
        >>> budget, yes = SkipBudget(0.25, burst=2), torch.tensor(True)
        >>> [bool(budget.take(yes, yes)) for _ in range(8)]
        [False, False, False, True, False, False, False, True]
    """

    absent_in_old_checkpoints = True
    count: Tensor
    due: Tensor

    def __init__(self, fraction: float, *, burst: int) -> None:
        super().__init__()
        self.steps_per_skip = math.ceil(round(1 / fraction, 9))
        self.saved = (burst - 1) * self.steps_per_skip
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("due", torch.tensor(self.steps_per_skip))

    def take(self, wanted: Scalar, counts: Scalar) -> Scalar:
        """Decide whether a step is skipped. Call it once per step.

        Args:
            wanted: Whether the rule would like to skip the step, a boolean or a boolean tensor `()`.
            counts: Whether the step counts at all, like `wanted`.

        Returns:
            Whether to skip it, like `wanted`.
        """
        count, due = self.number("count"), self.number("due")
        if isinstance(wanted, Tensor):
            count, due = as_tensor(count).to(wanted.device), as_tensor(due).to(wanted.device)
        now = count + counts
        skip = wanted & counts & (now >= due)
        self.set_number("count", now)
        self.set_number("due", where(skip, maximum(due, now - self.saved) + self.steps_per_skip, due))
        return skip
