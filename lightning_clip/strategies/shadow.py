"""`Shadow`: apply one strategy and record what others would have done."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_clip._checks import check_each, check_instance
from lightning_clip.core.actions import Action
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.scaling import finite_or
from lightning_clip.strategies.no_clip import NoClip


class Shadow(ClipStrategy):
    """Apply one strategy and record what others would have done with the same gradients.

    Each record carries the factor that each watched strategy would have applied to the total norm, under the label of
    that strategy: 1 if it would have changed nothing, 0 if it would have skipped the step. All strategies learn from
    every step. The run itself is the run of `active` alone, so a watched strategy sees norms that its own clipping
    would have changed over time.

    Args:
        active: The strategy whose decision is applied; `None` means `NoClip()`.
        watched: The strategies that decide without being applied.

    Raises:
        ArgumentTypeError: `active` or a watched item is not a strategy.

    Example:
        >>> from lightning_clip import NormClip, clip_
        >>> layer = torch.nn.Linear(2, 1)
        >>> layer(torch.ones(1, 2)).sum().backward()
        >>> step = clip_(Gradients.of_module(layer), Shadow(NoClip(), watched=[NormClip(0.1)]))
        >>> {label: round(float(factor), 3) for label, factor in step.watched.items()}
        {'NormClip(0.1)': 0.058}

    References:
        None: it compares several decisions on the same gradients.
    """

    def __init__(self, active: ClipStrategy | None = None, *, watched: Sequence[ClipStrategy] = ()) -> None:
        super().__init__()
        active = NoClip() if active is None else active
        check_instance("Shadow", ClipStrategy, active=active)
        check_each("Shadow", ClipStrategy, watched=watched)
        self.active = active
        self.asked = nn.ModuleList(watched)
        _ = [other.label for other in watched]  # cached here, because a compiled `decide` cannot compute labels

    @property
    def watched(self) -> tuple[ClipStrategy, ...]:
        """The strategies that decide without being applied."""
        return tuple(self.asked)  # type: ignore[arg-type]

    @property
    def label(self) -> str:
        """The label of the active strategy."""
        return self.active.label

    def decide(self, grads: Gradients) -> Action:
        """Let every strategy decide, and return the decision of the active one."""
        watched = {other.label: total_factor(other.decide(grads), grads) for other in self.watched}
        action = self.active.decide(grads)
        action.watched = {**action.watched, **watched}
        return action


def total_factor(action: Action, grads: Gradients) -> Tensor:
    """The factor that an action would apply to the total norm.

    Args:
        action: A decision on `grads`.
        grads: The gradients; they stay unchanged.

    Returns:
        `()`: 0 if the step would be skipped, 1 if the factor is undefined.
    """
    before, after = grads.total_norm(), action.preview(grads).total_norm()
    return finite_or(after / before, 1.0) * torch.as_tensor(action.skipped).logical_not()
