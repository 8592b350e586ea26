"""`EmaRatioClip`: acts on norms far above a slow average, and brings them down to a fast one."""

import torch
from torch import Tensor

from lightning_clip._checks import check_choice, check_count, check_decay, check_fraction, check_positive_finite
from lightning_clip._errors import ArgumentError
from lightning_clip.core.actions import Action, Keep, Scale
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.state import POLICIES, HistoryPolicy, Intake, RunningEstimates
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.scaling import clip_coef


class EmaRatioClip(ClipStrategy):
    r"""Where the total norm exceeds `trigger` times its slow average, scale it down to `target` times its fast one.

    $$N_k > \max(r\,S_{k-1},\ t\,F_{k-1}) \;\Rightarrow\; \hat g = \frac{t\,F_{k-1}}{N_k}\, g, \qquad
    F_k = \alpha F_{k-1} + (1 - \alpha)\, x_k, \quad S_k = \beta S_{k-1} + (1 - \beta)\, x_k$$

    Two limits, not one: an ordinary fluctuation is left alone, and what is clipped ends near the usual size rather
    than at the edge of what is tolerated. A good adaptive rule to start with: it has no unit to tune, and one bad
    step costs it nothing.

    What enters the averages, x, decides how the rule bears spikes and honest changes. With `"winsorized"`, the
    default, a clipped norm counts as at most twice what was left of it: one spike of any size moves the trigger by
    1.2 %, and a jump of the level to 8 times is followed within 80 steps, the pace of the slow average itself.

    Nothing is clipped during the first `warmup_steps`. Both averages start at the (lower) median of these norms, so
    that a spike among them, or a steep start of the run, is passed over; there is no bias to correct. Norms that are
    zero or not finite change nothing.

    Args:
        trigger: r, above which multiple of the slow average a norm is clipped; greater than `target`.
        target: t, to which multiple of the fast average it is brought down.
        fast: $\alpha$, the decay of the fast average in [0, 1), per optimizer step.
        slow: $\beta$, the decay of the slow average in [0, 1), per optimizer step.
        history: What enters the averages of a norm: itself (`"observed"`), what clipping left of it (`"clipped"`),
            at most twice what clipping left of it (`"winsorized"`), or only norms that were not clipped
            (`"accepted"`, until more than 20 in a row were).
        warmup_steps: How many norms are seen before the first step is clipped.
        min_scale: Smallest factor on the gradients, in [0, 1].

    Raises:
        ValueError: `trigger` is not greater than `target`, one of them is not positive, a decay is outside [0, 1),
            `warmup_steps` is below 1, `min_scale` is outside [0, 1], or `history` is none of the four.

    Example:
        >>> EmaRatioClip(3.0).label
        'EmaRatioClip(3.0)'

    References:
        The authors of "PDE-Transformer", `EmaGradClip`, 2025, https://github.com/tum-pbs/pde-transformer. It stores
        what was left of a clipped norm, as `history="clipped"` does. We depart in the start (there from the first
        norm, with bias correction), the default history, the exact quotient (1e-6 is added to the norm there), never
        raising a norm where the fast average exceeds the slow one by far, and in passing over non-finite norms.
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
            raise ArgumentError(f"EmaRatioClip(trigger={trigger}, target={target}): trigger must be above target.")
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

    def decide(self, grads: Gradients) -> Action:
        """Scale by `target · F / total norm` where the norm is above `trigger · S`."""
        if not len(grads):
            return Keep()
        norm = grads.total_norm()
        fast, slow, started = self.levels.read(norm)
        left = self.target * fast
        threshold = torch.where(started, torch.maximum(self.trigger * slow, left), torch.inf)
        limit = torch.where(norm > threshold, left, torch.inf)
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

    def initial(self) -> tuple[Tensor, Tensor]:
        median = self.first.quantile(0.5)
        return median, median

    def updated(self, value: Tensor) -> tuple[Tensor, Tensor]:
        value = value.to(self.fast.dtype)
        return torch.lerp(self.fast, value, 1 - self.fast_decay), torch.lerp(self.slow, value, 1 - self.slow_decay)
