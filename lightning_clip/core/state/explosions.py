"""`ExplosionCount`, `ExplosionTable`: they keep a sustained explosion from carrying limits away."""

import torch
from torch import Tensor

from lightning_clip._checks import check_positive, check_rule
from lightning_clip.core.state.per_parameter import PerParameter
from lightning_clip.core.state.state import State
from lightning_clip.functional.scalars import Scalar, minimum, where

EXPLOSION = 32.0
"""By default, a norm above this multiple of its limit is an explosion and not a new level."""

IN_FULL = 5
"""How many explosions in a row are treated like any outlier."""

ONE_IN = 20
"""Of the explosions after these, one in so many enters the history."""


def check_explosion(call: str, explosion: float) -> None:
    """Raise unless a multiple of the limit can stand for an explosion.

    Args:
        call: The name of the strategy, for instance `"RobustClip"`.
        explosion: The multiple.

    Raises:
        ArgumentTypeError: It is not a number.
        ArgumentError: It is not above 1.
    """
    check_positive(call, explosion=explosion)
    check_rule(f"{call}(explosion={explosion!r})", "explosion must be above 1", holds=explosion > 1)


def explosion_enters(in_a_row: Scalar) -> Scalar:
    """Whether a norm that is an explosion enters a history: the first five in a row do, and then one in twenty.

    A few spikes in a row are treated like any outlier. A longer explosion is no new level, so a limit that could rise
    by 12% in a step then rises by 12% in twenty. It does rise, so that a rule whose first norms were tiny is not locked
    for ever.

    Args:
        in_a_row: The number of explosions in a row including this one, a number or a tensor of any shape; 0 for
            another norm.

    Returns:
        A boolean, or a boolean tensor of the shape of `in_a_row`.

    Example:
        >>> [n for n in range(1, 50) if explosion_enters(n)]
        [1, 2, 3, 4, 5, 20, 40]
    """
    return (in_a_row <= IN_FULL) | (in_a_row % ONE_IN == 0)


class ExplosionCount(State):
    """Counts explosions in a row, which are norms above a multiple of their limit, and keeps most from a history.

    Args:
        multiple: The multiple; `inf` to count none.

    Attributes:
        in_a_row: The number of explosions in a row, int64 `()`.
    """

    absent_in_old_checkpoints = True
    in_a_row: Tensor

    def __init__(self, multiple: float) -> None:
        super().__init__()
        self.multiple = multiple
        self.register_buffer("in_a_row", torch.zeros((), dtype=torch.int64))

    def take(self, norm: Scalar, limit: Scalar, value: Scalar) -> tuple[Scalar, Scalar]:
        """Decide what to store of the norm of one step. Call it once per step.

        A norm that is NaN, infinite or zero does not change the count.

        Args:
            norm: The norm before clipping, a number or a tensor `()`.
            limit: What the norm is compared with, like `norm`; `inf` for no limit.
            value: What would be stored of the norm otherwise, like `norm`.

        Returns:
            The value to store, after five explosions in a row at most twice the limit, and whether it may be stored at
            all, each like `norm`.
        """
        exploded = norm > self.multiple * limit
        if not isinstance(norm, Tensor) and not exploded and not self.number("in_a_row"):
            return value, True  # as at nearly every step, and free to see
        self.match(norm)
        counts, before = (norm < torch.inf) & (norm > 0), self.number("in_a_row")
        in_a_row = where(counts, (before + 1) * exploded, before)
        self.set_number("in_a_row", in_a_row)
        return where(in_a_row > IN_FULL, minimum(value, 2 * limit), value), explosion_enters(in_a_row)


class ExplosionTable(PerParameter):
    """The same for many norms at once, each counted under its own name.

    Args:
        multiple: The multiple of the limit above which a norm is an explosion; `inf` to count none.
    """

    absent_in_old_checkpoints = True

    def __init__(self, multiple: float) -> None:
        super().__init__(in_a_row=0.0)
        self.multiple = multiple

    def take_each(
        self, names: tuple[str, ...], norms: Tensor, limits: Tensor, values: Tensor, counts: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Decide what to store of each norm of one step. Call it once per step.

        Args:
            names: `n` names.
            norms: The norms before clipping, `(n,)`.
            limits: What the norms are compared with, `(n,)`; `inf` for no limit.
            values: What would be stored otherwise, `(n,)`.
            counts: Which norms count at all, boolean `(n,)`.

        Returns:
            The values to store and whether they may be stored at all, each `(n,)`; see `ExplosionCount.take`.
        """
        (before,) = self.take_rows(names, norms)
        in_a_row = torch.where(counts, (before + 1) * (norms > self.multiple * limits), before)
        self.put_rows(names, in_a_row)
        values = torch.where(in_a_row > IN_FULL, torch.minimum(values, 2 * limits), values)
        return values, explosion_enters(in_a_row)
