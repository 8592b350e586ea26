"""`RobustClip`: clip the total norm to the median of the latest norms plus some robust standard deviations."""

import math

from lightning_clip._checks import check_choice, check_count, check_fraction, check_non_negative, check_positive
from lightning_clip._errors import ArgumentError
from lightning_clip.core.actions import Action, Scale
from lightning_clip.core.state import EXPLOSION, POLICIES, HistoryPolicy, Intake, Window, check_explosion
from lightning_clip.core.total_norm_strategy import TotalNormStrategy
from lightning_clip.functional.scalars import Scalar, maximum, where
from lightning_clip.functional.scaling import clip_coef


def robust_limit(median: Scalar, mad: Scalar, k: float, *, min_relative_std: float = 0.0) -> Scalar:
    """`median + k · max(1.4826 · mad, min_relative_std · median)`.

    Args:
        median: The median of a sample, a number or `()`.
        mad: The median absolute deviation from it, like `median`; 1.4826 times it estimates a standard deviation.
        k: The number of standard deviations.
        min_relative_std: Smallest standard deviation, as a fraction of the median.

    Returns:
        The limit, like `median`.

    Example:
        >>> round(float(robust_limit(2.0, 0.1, 3.0)), 4)
        2.4448
    """
    return median + k * maximum(1.4826 * mad, min_relative_std * median)


def robust_threshold(
    norms: Window, norm: Scalar, k: float, *, min_history: int, min_relative_std: float, explosion: float = EXPLOSION
) -> Scalar:
    """The `robust_limit` of the latest norms; `inf` while fewer than `min_history` norms are known.

    Once a fourth of `min_history` norms are known, the limit is in force for an explosion alone.

    Args:
        norms: The norms before the current step.
        norm: The norm of the current step, a number or `()`; the window takes on its dtype and device.
        k: The number of standard deviations.
        min_history: How many norms must be known.
        min_relative_std: Smallest standard deviation, as a fraction of the median.
        explosion: The multiple of the limit above which a norm is an explosion.

    Returns:
        The limit, like `norm`.
    """
    norms.match(norm)
    limit = robust_limit(*norms.median_and_mad(), k, min_relative_std=min_relative_std)
    known = norms.stored()
    early = (known >= max(1, min_history // 4)) & (norm > explosion * limit)
    return where(early | (known >= min_history), limit, math.inf)


class RobustClip(TotalNormStrategy):
    r"""Scale all gradients so that their total norm is at most the median plus k robust standard deviations.

    $$c_k = m + k \max(1.4826\,\mathrm{MAD},\ \delta m), \qquad \hat g = \min(1, c_k / N_k)\, g$$

    m and MAD are the median and the median absolute deviation of the latest norms, without the current one. The limit
    stays meaningful as long as at most half of the window are spikes; a single spike moves it by one rank. The limit
    follows a genuine jump in the level once half of the window is new, within `window / 2` steps. `k=3` clips one in a
    thousand norms of a normal distribution, and one in eighty of a log-normal distribution with a standard deviation of
    0.25 in the logarithm.

    Until `min_history` norms are known, only explosions are clipped, and nothing is before a fourth of them are. Norms
    that are zero, NaN or infinite are not stored.

    Args:
        k: How many standard deviations a norm may be above the median.
        window: How many norms to remember, in optimizer steps.
        min_history: How many norms must be known before the first step is clipped; `None` for half of the window.
        history: How norms are stored: `"observed"` stores them unchanged, `"clipped"` after clipping, `"winsorized"` at
            most at twice the limit, and `"accepted"` only if they are within the limit (or after more than 20 in a row
            above it).
        min_relative_std: $\delta$, the smallest standard deviation as a fraction of the median. Without it, the
            slightest rise after a quiet period counts as an outlier.
        explosion: A norm above this multiple of the limit is an explosion and not a new level: after five in a row,
            only one in twenty is stored, as at most twice the limit. `inf` stores all.
        min_scale: Smallest scaling factor, in [0, 1].

    Raises:
        ArgumentTypeError: An argument has the wrong type.
        ArgumentError: `k` is not positive, `window` or `min_history` is below 1, `min_history` exceeds `window`,
            `min_relative_std` is negative, `min_scale` is outside [0, 1], or `history` is unknown.

    Example:
        >>> RobustClip(4.0, window=64).label
        'RobustClip(4.0, window=64)'

    References:
        The Levanter authors, "Levanter", `clip_update_norm`, 2023, https://github.com/marin-community/levanter: mean
        plus k standard deviations of the latest 128 update norms. We differ in using gradients, and the median and the
        MAD, which a single spike does not move, so there is no preset `reference()`. Frank R. Hampel, "The Influence
        Curve and Its Role in Robust Estimation", 1974, https://doi.org/10.1080/01621459.1974.10482962.
    """

    def __init__(
        self,
        k: float = 3.0,
        *,
        window: int = 128,
        min_history: int | None = None,
        history: HistoryPolicy = "observed",
        min_relative_std: float = 0.05,
        explosion: float = EXPLOSION,
        min_scale: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive("RobustClip", k=k)
        check_count("RobustClip", window=window)
        check_non_negative("RobustClip", min_relative_std=min_relative_std)
        check_fraction("RobustClip", min_scale=min_scale)
        check_choice("RobustClip", POLICIES, history=history)
        check_explosion("RobustClip", explosion)
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
        self.explosion = explosion
        self.min_scale = min_scale
        self.norms = Window(window)
        self.intake = Intake(history, explosion=explosion)

    def decide_on(self, norm: Scalar) -> Action:
        """Scale by `min(1, limit / total norm)`."""
        min_history = self.min_history or max(1, self.window // 2)
        threshold = robust_threshold(
            self.norms,
            norm,
            self.k,
            min_history=min_history,
            min_relative_std=self.min_relative_std,
            explosion=self.explosion,
        )
        self.norms.push(*self.intake.take(norm, threshold))
        return Scale(clip_coef(norm, threshold, min_scale=self.min_scale), threshold)
