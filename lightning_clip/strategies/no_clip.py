"""`NoClip`: leave gradients unchanged."""

from lightning_clip.core.actions import Action, Keep
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy


class NoClip(ClipStrategy):
    """Leave every gradient unchanged.

    Example:
        >>> NoClip()
        NoClip()

    References:
        None: this is the baseline for every other rule.
    """

    def decide(self, grads: Gradients) -> Action:
        """Keep all gradients."""
        return Keep()
