"""`NoClip`: look, leave alone."""

from lightning_clip.core.actions import Action, Keep
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy


class NoClip(ClipStrategy):
    """Leave every gradient as it is.

    Example:
        >>> NoClip()
        NoClip()

    References:
        None: the baseline that every rule is compared with.
    """

    def decide(self, grads: Gradients) -> Action:
        """Keep."""
        return Keep()
