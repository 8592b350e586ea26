"""`ThresholdSchedule`: change a strategy's limit over the run, by step or by learning rate."""

import math
from collections.abc import Callable
from typing import Literal

from torch.optim import Optimizer

from lightning_clip._checks import check_choice, check_count, check_instance, check_positive
from lightning_clip._errors import ArgumentError, ArgumentTypeError
from lightning_clip.core.actions import Action
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.strategies.norm_clip import NormClip

Shape = Literal["constant", "linear", "cosine", "exponential", "follow_lr"]


def constant(progress: float, start: float, end: float) -> float:
    """`start` until the end of the schedule, then `end`."""
    return start if progress < 1 else end


def linear(progress: float, start: float, end: float) -> float:
    """A straight line."""
    return start + (end - start) * progress


def cosine(progress: float, start: float, end: float) -> float:
    """Half a cosine wave, flat at both ends."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def exponential(progress: float, start: float, end: float) -> float:
    """A curve with the same ratio from each step to the next."""
    return start * math.pow(end / start, progress)


def lr_fraction(optimizer: Optimizer) -> float:
    """The learning rate as a fraction of its peak, in [0, 1]; each is the largest over the parameter groups.

    Args:
        optimizer: The peak of a group is its `max_lr` or `initial_lr`, which learning-rate schedulers set. Without a
            scheduler, the fraction is 1.

    Returns:
        The fraction.
    """
    groups = optimizer.param_groups
    peak = max(float(group.get("max_lr", group.get("initial_lr", group["lr"]))) for group in groups)
    return min(max(float(group["lr"]) for group in groups) / peak, 1.0) if peak > 0 else 1.0


CURVES: dict[str, Callable[[float, float, float], float]] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "exponential": exponential,
}


class ThresholdSchedule(ClipStrategy):
    r"""Multiply the limit of a strategy by a factor that changes over the run.

    $$c_k = c \cdot f(k)$$

    k is the number of completed steps of the optimizer that the gradients belong to. f depends on nothing else, so a
    resumed run continues where it stopped. f goes from `start` to `end` in `steps` steps and stays there. The two
    exceptions are `"follow_lr"`, the learning rate divided by its peak, and a custom function.

    Args:
        strategy: A strategy with a single limit, for instance `max_norm` or `clip_value`; `None` means `NormClip()`.
        shape: `"constant"` holds `start` and then jumps to `end`; `"linear"`, `"cosine"` and `"exponential"` change
            gradually; `"follow_lr"` is the learning rate as a fraction of its peak. Or a function from k to the factor.
        start: Factor at the first step; ignored for `"follow_lr"` and functions.
        end: Factor after `steps` steps; ignored for `"follow_lr"` and functions.
        steps: Length of the schedule in optimizer steps; ignored for `"follow_lr"` and functions.

    Raises:
        ArgumentTypeError: `strategy` is not a strategy or has no single limit, or an argument has the wrong type.
        ArgumentError: An argument is out of range. At a step: the function returns a negative number or NaN, or
            `"follow_lr"` is used on gradients without an optimizer.

    Example:
        >>> schedule = ThresholdSchedule(NormClip(2.0), shape="linear", start=1.0, end=0.5, steps=100)
        >>> [schedule.factor(Gradients([], [], step=k)) for k in (0, 50, 200)]
        [1.0, 0.75, 0.5]

    References:
        Dirk Groeneveld and others, "OLMo: Accelerating the Science of Language Models", 2024,
        https://arxiv.org/abs/2402.00838, whose code multiplies the limit during the first steps (here `"constant"`).

        Ashkan Yousefpour and others, "Opacus: User-Friendly Differential Privacy Library in PyTorch", 2021,
        https://arxiv.org/abs/2109.12298, whose schedulers lower the limit by epoch.
    """

    def __init__(
        self,
        strategy: ClipStrategy | None = None,
        *,
        shape: Shape | Callable[[int], float] = "linear",
        start: float = 1.0,
        end: float = 0.1,
        steps: int = 1000,
    ) -> None:
        super().__init__()
        strategy = NormClip() if strategy is None else strategy
        check_instance("ThresholdSchedule", ClipStrategy, strategy=strategy)
        check_positive("ThresholdSchedule", start=start, end=end)
        check_count("ThresholdSchedule", steps=steps)
        if not callable(shape):
            check_choice("ThresholdSchedule", [*CURVES, "follow_lr"], shape=shape)
        limit = getattr(strategy, strategy.scheduled_arg) if strategy.scheduled_arg else None
        if isinstance(limit, bool) or not isinstance(limit, int | float):
            raise ArgumentTypeError(
                f"ThresholdSchedule(strategy={strategy!r}): strategy must have a single limit; use one that has, "
                "such as NormClip, or a StrategySchedule."
            )
        self.strategy = strategy
        self.shape = shape
        self.start = start
        self.end = end
        self.steps = steps

    @property
    def label(self) -> str:
        """The label of the strategy, and the shape."""
        shape = getattr(self.shape, "__name__", self.shape)
        return f"ThresholdSchedule({self.strategy.label}, shape={shape!r})"

    def factor(self, grads: Gradients) -> float:
        """The factor on the limit at a step.

        Args:
            grads: The gradients of that step.

        Returns:
            A number of at least 0.
        """
        if self.shape == "follow_lr":
            return lr_fraction(self._optimizer_of(grads))
        if not callable(self.shape):
            return CURVES[self.shape](min(grads.own_step / self.steps, 1.0), self.start, self.end)
        factor = float(self.shape(grads.own_step))
        if not factor >= 0:
            raise ArgumentError(
                f"ThresholdSchedule(shape={self.shape!r}): the factor at step {grads.own_step} is {factor}; "
                "it must be a number of at least 0."
            )
        return factor

    def decide(self, grads: Gradients) -> Action:
        """Let the strategy decide with its limit multiplied, then restore the limit."""
        name = self.strategy.scheduled_arg or ""
        limit = getattr(self.strategy, name)
        setattr(self.strategy, name, limit * self.factor(grads))
        try:
            return self.strategy.decide(grads)
        finally:
            setattr(self.strategy, name, limit)

    def _optimizer_of(self, grads: Gradients) -> Optimizer:
        if grads.optimizer is None:
            raise ArgumentError(
                "ThresholdSchedule(shape='follow_lr'): these gradients have no optimizer; "
                "create them with Gradients.of_optimizer(optimizer)."
            )
        return grads.optimizer
