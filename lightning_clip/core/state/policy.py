"""What an adaptive rule stores of a norm it has just limited."""

from typing import Literal

import torch
from torch import Tensor

HistoryPolicy = Literal["observed", "clipped", "winsorized", "accepted"]

POLICIES: tuple[HistoryPolicy, ...] = ("observed", "clipped", "winsorized", "accepted")


def to_store(policy: HistoryPolicy, norm: Tensor, threshold: Tensor, *, factor: float = 2.0) -> tuple[Tensor, Tensor]:
    """What enters the history, and whether anything does. A norm that is not finite never enters.

    A stored spike loosens an average for long; storing what was clipped lets the average follow an honest rise only
    slowly; storing only accepted norms never follows it. A winsorized norm is the way between.

    Args:
        policy: `"observed"` the norm as it was, `"clipped"` what was left of it, `"winsorized"` the norm but at most
            `factor` times the threshold, `"accepted"` the norm only where it was within the threshold.
        norm: Norms before clipping, any shape.
        threshold: The limits in force, of the same shape; `inf` where there was none.
        factor: How far a winsorized norm may exceed the threshold.

    Returns:
        The values to store, and a boolean of the same shape that says which of them to store.

    Example:
        >>> value, keep = to_store("winsorized", torch.tensor(50.0), torch.tensor(4.0))
        >>> float(value), bool(keep)
        (8.0, True)
    """
    finite = norm.isfinite()
    if policy == "observed":
        return norm, finite
    if policy == "accepted":
        return norm, finite & (norm <= threshold)
    return torch.minimum(norm, threshold if policy == "clipped" else factor * threshold), finite
