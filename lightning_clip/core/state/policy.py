"""History policies: what an adaptive rule stores of a norm that it has just clipped."""

from typing import Literal

import torch
from torch import Tensor

from lightning_clip.core.gradients import Gradients
from lightning_clip.core.state.explosions import EXPLOSION, ExplosionCount
from lightning_clip.core.state.state import State
from lightning_clip.functional.scalars import Scalar, invert, minimum, scalar

HistoryPolicy = Literal["observed", "clipped", "winsorized", "accepted"]

POLICIES: tuple[HistoryPolicy, ...] = ("observed", "clipped", "winsorized", "accepted")


def to_store(policy: HistoryPolicy, norm: Scalar, threshold: Scalar, *, factor: float = 2.0) -> tuple[Scalar, Scalar]:
    """The value of a norm that enters the history, and whether it enters at all. NaN and infinite norms never do.

    Storing spikes unchanged loosens an average for a long time. Storing clipped norms lets the average follow a genuine
    rise only slowly, and storing only accepted norms keeps it from following at all. Winsorized norms are the
    compromise.

    Args:
        policy: `"observed"` stores the norm unchanged, `"clipped"` what clipping left of it, `"winsorized"` the norm
            but at most `factor` times the threshold, and `"accepted"` only norms within the threshold.
        norm: Norms before clipping, a number or a tensor of any shape.
        threshold: The limits in force, of the same shape; `inf` for no limit.
        factor: How many times the threshold a winsorized norm may reach.

    Returns:
        The values to store, and a boolean of the same shape that says which of them to store.

    Example:
        >>> value, keep = to_store("winsorized", torch.tensor(50.0), torch.tensor(4.0))
        >>> float(value), bool(keep)
        (8.0, True)
    """
    finite = norm < torch.inf
    if policy == "observed":
        return norm, finite
    if policy == "accepted":
        return norm, finite & (norm <= threshold)
    return minimum(norm, threshold if policy == "clipped" else factor * threshold), finite


def has_signal(grads: Gradients, norms: Tensor) -> Tensor:
    """Whether each norm may enter a history: it is not zero, and no gradient of the step is NaN or infinite.

    Args:
        grads: The gradients of this step.
        norms: Norms of these gradients, any shape.

    Returns:
        Boolean, of the shape of `norms`.
    """
    return grads.total_norm().isfinite() & (norms > 0)


class Intake(State):
    """Decides what of each total norm enters a history: `to_store`, but without exact zeros and without deadlock.

    A norm of exactly zero means that there was no signal, not that gradients are small, so it is skipped. With plain
    `"accepted"`, a history could never follow a genuine rise, because every later norm would be above the threshold. So
    once more than `max_rejected` norms in a row were above it, norms enter unchanged until one is within the threshold
    again. Of the norms above `explosion` times the threshold, only some enter: see `ExplosionCount`.

    Args:
        policy: See `to_store`.
        factor: How many times the threshold a winsorized norm may reach.
        max_rejected: How many norms in a row `"accepted"` may reject.
        explosion: The multiple of the threshold above which a norm is an explosion; `inf` for none.

    Attributes:
        rejected: The number of norms in a row above the threshold, int64 `()`; counted for `"accepted"` only.

    Example:
        >>> intake = Intake("accepted", max_rejected=2)
        >>> spike, limit = torch.tensor(50.0), torch.tensor(4.0)
        >>> [bool(intake.take(spike, limit)[1]) for _ in range(4)]
        [False, False, True, True]
    """

    rejected: Tensor

    def __init__(
        self, policy: HistoryPolicy, *, factor: float = 2.0, max_rejected: int = 20, explosion: float = EXPLOSION
    ) -> None:
        super().__init__()
        self.policy = policy
        self.factor = factor
        self.max_rejected = max_rejected
        self.explosions = ExplosionCount(explosion)
        self.register_buffer("rejected", torch.zeros((), dtype=torch.int64))

    def take(self, norm: Scalar, threshold: Scalar) -> tuple[Scalar, Scalar]:
        """Decide what to store of the norm of one step. Call it once per step.

        Args:
            norm: The norm before clipping, a number or a tensor `()`.
            threshold: The limit in force, like `norm`; `inf` for no limit.

        Returns:
            The value to store and whether to store it, each like `norm`.
        """
        if isinstance(norm, Tensor) or isinstance(threshold, Tensor):
            norm, threshold = scalar(norm), scalar(threshold)
        value, keep = to_store(self.policy, norm, threshold, factor=self.factor)
        keep = keep & (norm > 0)
        if self.policy == "accepted":
            keep = self._without_deadlock(norm, keep)
        value, enters = self.explosions.take(norm, threshold, value)
        return value, keep & enters

    def _without_deadlock(self, norm: Scalar, within: Scalar) -> Scalar:
        self.match(norm)
        above = (norm < torch.inf) & (norm > 0) & invert(within)
        self.set_number("rejected", (self.number("rejected") + above) * invert(within))
        return within | (above & (self.number("rejected") > self.max_rejected))
