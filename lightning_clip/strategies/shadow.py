"""`Shadow`: what other strategies would have done, beside the one that acts."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_clip._checks import check_each
from lightning_clip.core.actions import Action
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.scaling import finite_or
from lightning_clip.strategies.no_clip import NoClip


class Shadow(ClipStrategy):
    """Apply one strategy and record what others would have done with the same gradients.

    Each record carries, under the label of each watched strategy, the factor that it would have applied to the total
    norm: 1 where it would have changed nothing, 0 where it would have skipped the step. All of them learn from every
    step. The run itself is that of `active` alone: a watched strategy sees norms that its own clipping would have
    changed in time.

    Args:
        active: The strategy whose decision is applied; `None` stands for `NoClip()`.
        watched: The strategies that are only asked.

    Raises:
        TypeError: One of them is not a strategy.

    Example:
        >>> from lightning_clip import NormClip, clip_
        >>> layer = torch.nn.Linear(2, 1)
        >>> layer(torch.ones(1, 2)).sum().backward()
        >>> event = clip_(Gradients.of_module(layer), Shadow(NoClip(), watched=[NormClip(0.1)]))
        >>> {label: round(float(factor), 3) for label, factor in event.watched.items()}
        {'NormClip(0.1)': 0.058}

    References:
        None: the same gradients, several decisions.
    """

    def __init__(self, active: ClipStrategy | None = None, *, watched: Sequence[ClipStrategy] = ()) -> None:
        super().__init__()
        active = NoClip() if active is None else active
        check_each("Shadow", ClipStrategy, active=[active], watched=watched)
        self.active = active
        self.asked = nn.ModuleList(watched)
        _ = [other.label for other in watched]  # kept from now on: a compiled `decide` could not work them out

    @property
    def watched(self) -> tuple[ClipStrategy, ...]:
        """The strategies that are only asked."""
        return tuple(self.asked)  # type: ignore[arg-type]

    @property
    def label(self) -> str:
        """The label of the strategy that acts."""
        return self.active.label

    def decide(self, grads: Gradients) -> Action:
        """Ask all, return the decision of the one that acts."""
        watched = {other.label: total_factor(other.decide(grads), grads) for other in self.watched}
        action = self.active.decide(grads)
        action.watched = {**action.watched, **watched}
        return action


def total_factor(action: Action, grads: Gradients) -> Tensor:
    """The factor that an action would apply to the total norm.

    Args:
        action: A decision on `grads`.
        grads: The gradients, left as they are.

    Returns:
        `()`: 0 where the step would be skipped, 1 where nothing can be said.
    """
    before, after = grads.total_norm(), action.preview(grads).total_norm()
    return finite_or(after / before, 1.0) * torch.as_tensor(action.skipped).logical_not()
