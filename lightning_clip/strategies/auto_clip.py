"""`AutoClip`: clip the total norm to a percentile of earlier norms."""

import math
from typing import Literal, Self

from lightning_clip._checks import (
    check_choice,
    check_count,
    check_flag,
    check_fraction,
    check_non_negative,
    check_percentile,
)
from lightning_clip._errors import ArgumentError
from lightning_clip.core.actions import Action, Scale
from lightning_clip.core.state import EXPLOSION, Intake, QuantileSketch, Window, check_explosion
from lightning_clip.core.total_norm_strategy import TotalNormStrategy
from lightning_clip.functional.scalars import Scalar, where
from lightning_clip.functional.scaling import clip_coef


class AutoClip(TotalNormStrategy):
    r"""Scale all gradients so that their total norm is at most a percentile of the norms of earlier steps.

    $$c_k = \operatorname{percentile}_q(N_{k-w}, \dots, N_{k-1}), \qquad \hat g = \min(1, c_k / N_k)\, g$$

    Percentiles use linear interpolation, as in `numpy.percentile`. The first step is not clipped. A percentile of q
    clips about 100 - q percent of the steps. The default of 10 is the paper's: it clips nine steps in ten of a quiet
    run, so it sets the step size, like `NormalizeGradient`, without a scale to choose. Take 50 to limit the larger half
    of the steps, and 90 to 99 to cut off outliers alone. A single spike moves the limit by one rank. After a genuine
    jump in the level, the limit reaches the new norms once q percent of the window are old: after
    `(1 - percentile / 100) * window` steps, which is 900 with the defaults and 100 for `percentile=90`. A shorter
    window reacts faster.

    `AutoClip.reference()` is the authors' rule: it uses all norms so far, including the current one. The limit is then
    exact for 1024 steps and later within 0.55% of the exact percentile, read from 72 KiB of counts on a logarithmic
    scale. Every step costs the same.

    Norms that are zero, NaN or infinite are not stored.

    Args:
        percentile: q, in percent, 0-100.
        window: How many norms to remember, in optimizer steps; `None` for all.
        include_current: Whether the current norm counts toward its own limit, as in the paper.
        min_history: How many norms must be known before the first step is clipped.
        history: How norms are stored: `"observed"` stores them unchanged, `"winsorized"` at most at twice the limit.
            There is no `"clipped"`, because a percentile of clipped norms could only fall.
        explosion: A norm above this multiple of the limit is an explosion and not a new level: after five in a row,
            only one in twenty is stored, as at most twice the limit. `inf` stores all.
        norm_eps: Added to the norm in the quotient; 0 is exact, 1e-6 matches the authors' code and torch.
        min_scale: Smallest scaling factor, in [0, 1].

    Raises:
        ArgumentTypeError: An argument has the wrong type.
        ArgumentError: An argument is out of range, or `include_current` is combined with a winsorized history.

    Example:
        >>> AutoClip(90.0, window=200).label
        'AutoClip(90.0, window=200)'

    References:
        Prem Seetharaman, Gordon Wichern, Bryan Pardo, Jonathan Le Roux, "AutoClip: Adaptive Gradient Clipping for
        Source Separation Networks", 2020, https://arxiv.org/abs/2007.14469. Our defaults differ: they exclude the
        current norm and use a window. We also use the exact quotient (the authors' code adds 1e-6 to the norm), skip
        zero and non-finite norms (there, a single one turns all later limits into NaN), and store the history
        differently in checkpoints.
    """

    def __init__(
        self,
        percentile: float = 10.0,
        *,
        window: int | None = 1000,
        include_current: bool = False,
        min_history: int = 1,
        history: Literal["observed", "winsorized"] = "observed",
        explosion: float = EXPLOSION,
        norm_eps: float = 0.0,
        min_scale: float = 0.0,
    ) -> None:
        super().__init__()
        check_percentile("AutoClip", percentile=percentile)
        check_fraction("AutoClip", min_scale=min_scale)
        check_flag("AutoClip", include_current=include_current)
        check_choice("AutoClip", ("observed", "winsorized"), history=history)
        check_count("AutoClip", min_history=min_history)
        check_explosion("AutoClip", explosion)
        check_non_negative("AutoClip", norm_eps=norm_eps)
        if window is not None:
            check_count("AutoClip", window=window)
        if include_current and history != "observed":
            raise ArgumentError(
                f"AutoClip(include_current=True, history={history!r}): the stored norm depends on the limit, so the "
                f"limit cannot depend on the stored norm; use history='observed' or include_current=False."
            )
        self.percentile = percentile
        self.window = window
        self.include_current = include_current
        self.min_history = min_history
        self.history = history
        self.explosion = explosion
        self.norm_eps = norm_eps
        self.min_scale = min_scale
        self.norms = QuantileSketch() if window is None else Window(window)
        self.intake = Intake(history, explosion=explosion)

    @classmethod
    def reference(cls, percentile: float = 10.0) -> Self:
        """The authors' rule: the same factors up to rounding, for the first 1024 steps.

        Two things differ on purpose: after 1024 steps the percentile is exact to 0.55%, from a history of constant
        size; and norms that are zero, NaN or infinite are not stored (there, a single one that is NaN stays in all
        later limits).

        Args:
            percentile: The authors' `clip_percentile`.

        Returns:
            The strategy.
        """
        return cls(percentile, window=None, include_current=True, norm_eps=1e-6)

    def decide_on(self, norm: Scalar) -> Action:
        """Scale by `min(1, percentile / total norm)`."""
        norms = self.norms
        norms.match(norm)
        if self.include_current:
            norms.push(*self.intake.take(norm, norm))
        known = norms.stored() >= self.min_history
        threshold = where(known, norms.quantile(self.percentile / 100), math.inf)
        if not self.include_current:
            norms.push(*self.intake.take(norm, threshold))
        return Scale(clip_coef(norm, threshold, eps=self.norm_eps, min_scale=self.min_scale), threshold)
