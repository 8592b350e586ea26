"""`RobustClip`: the limit is a number of robust standard deviations above the median of the latest norms."""

import torch
from torch import Tensor

from lightning_clip._checks import check_choice, check_count, check_fraction, check_non_negative, check_positive
from lightning_clip._errors import ArgumentError
from lightning_clip.core.actions import Action, Keep, Scale
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.state import POLICIES, HistoryPolicy, Intake, Window
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.scaling import clip_coef


def robust_limit(median: Tensor, mad: Tensor, k: float, *, min_relative_std: float = 0.0) -> Tensor:
    """`median + k · max(1.4826 · mad, min_relative_std · median)`.

    Args:
        median: The median of a sample, `()`.
        mad: Its median absolute deviation from that median, `()`; 1.4826 times it estimates a standard deviation.
        k: How many standard deviations.
        min_relative_std: Smallest standard deviation, as a fraction of the median.

    Returns:
        The limit, `()`.

    Example:
        >>> round(float(robust_limit(torch.tensor(2.0), torch.tensor(0.1), 3.0)), 4)
        2.4448
    """
    return median + k * torch.maximum(1.4826 * mad, min_relative_std * median)


def robust_threshold(norms: Window, norm: Tensor, k: float, *, min_history: int, min_relative_std: float) -> Tensor:
    """The `robust_limit` of the latest norms; `inf` while fewer than `min_history` are known.

    Args:
        norms: The norms before the current step.
        norm: The norm of the current step, `()`; the window takes on its dtype and device.
        k: How many standard deviations.
        min_history: How many norms must be known.
        min_relative_std: Smallest standard deviation, as a fraction of the median.

    Returns:
        The limit, `()`.
    """
    norms.match(norm)
    limit = robust_limit(*norms.median_and_mad(), k, min_relative_std=min_relative_std)
    return torch.where(norms.count >= min_history, limit, torch.inf)


class RobustClip(ClipStrategy):
    r"""Scale all gradients so that their total norm is at most the median plus k robust standard deviations.

    $$c_k = m + k \max(1.4826\,\mathrm{MAD},\ \delta m), \qquad \hat g = \min(1, c_k / N_k)\, g$$

    with the median m and the median absolute deviation of the norms of the latest steps, the current one left out.
    Up to half of the window may be spikes before the limit loses its meaning; one of them moves it by one rank. An
    honest jump of the level is followed once half of the window is new, within `window / 2` steps. With `k=3` one in
    a thousand norms of a normal distribution is clipped, and one in eighty of a log-normal one with a standard
    deviation of 0.25 in the logarithm.

    Nothing is clipped until `min_history` norms are known. Norms that are zero or not finite enter no history.

    Args:
        k: How many standard deviations above the median a norm may lie.
        window: How many norms are remembered, in optimizer steps.
        min_history: How many norms must be known before the first step is clipped; `None` for half of the window.
        history: What is remembered of a norm: itself (`"observed"`), what clipping left of it (`"clipped"`), at most
            twice the limit (`"winsorized"`), or only norms within the limit (`"accepted"`, until more than 20 in a
            row were not).
        min_relative_std: $\delta$, the smallest standard deviation as a fraction of the median: without it a quiet
            stretch makes an outlier of the slightest rise.
        min_scale: Smallest factor on the gradients, in [0, 1].

    Raises:
        ValueError: `k` is not positive, `window` or `min_history` is below 1, `min_history` exceeds `window`,
            `min_relative_std` is negative, `min_scale` is outside [0, 1], or `history` is none of the four.

    Example:
        >>> RobustClip(4.0, window=64).label
        'RobustClip(4.0, window=64)'

    References:
        The Levanter authors, "Levanter", `clip_update_norm`, 2023, https://github.com/marin-community/levanter: mean
        plus k standard deviations of the latest 128 update norms. We depart in taking the median and the MAD, which
        one spike does not move, and gradients. Frank R. Hampel, "The Influence Curve and Its Role in Robust
        Estimation", 1974, https://doi.org/10.1080/01621459.1974.10482962.
    """

    def __init__(
        self,
        k: float = 3.0,
        *,
        window: int = 128,
        min_history: int | None = None,
        history: HistoryPolicy = "observed",
        min_relative_std: float = 0.05,
        min_scale: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive("RobustClip", k=k)
        check_count("RobustClip", window=window)
        check_non_negative("RobustClip", min_relative_std=min_relative_std)
        check_fraction("RobustClip", min_scale=min_scale)
        check_choice("RobustClip", POLICIES, history=history)
        if min_history is not None:
            check_count("RobustClip", min_history=min_history)
            if min_history > window:
                raise ArgumentError(
                    f"RobustClip(window={window}, min_history={min_history}): min_history must be at most window."
                )
        self.k = k
        self.window = window
        self.min_history = min_history
        self.history = history
        self.min_relative_std = min_relative_std
        self.min_scale = min_scale
        self.norms = Window(window)
        self.intake = Intake(history)

    def decide(self, grads: Gradients) -> Action:
        """Scale by `min(1, limit / total norm)`."""
        if not len(grads):
            return Keep()
        norm = grads.total_norm()
        min_history = self.min_history or max(1, self.window // 2)
        threshold = robust_threshold(
            self.norms, norm, self.k, min_history=min_history, min_relative_std=self.min_relative_std
        )
        self.norms.push(*self.intake.take(norm, threshold))
        return Scale(clip_coef(norm, threshold, min_scale=self.min_scale), threshold)
