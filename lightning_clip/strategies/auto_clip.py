"""`AutoClip`: the limit is a percentile of the norms seen before."""

from typing import Literal

import torch

from lightning_clip._checks import check_choice, check_count, check_fraction, check_percentile
from lightning_clip._errors import ArgumentError
from lightning_clip.core.actions import Action, Keep, Scale
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.state import Intake, QuantileSketch, Window
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.scaling import clip_coef


class AutoClip(ClipStrategy):
    r"""Scale all gradients so that their total norm is at most a percentile of the norms of earlier steps.

    $$c_k = \operatorname{percentile}_q(N_{k-w}, \dots, N_{k-1}), \qquad \hat g = \min(1, c_k / N_k)\, g$$

    with linear interpolation between neighbours, as `numpy.percentile`. The first step is not clipped. A percentile q
    clips about 100 - q percent of the steps: the default, 10, is the paper's and closer to normalisation than to
    clipping; 90 to 99 cut off outliers only. A spike moves the limit by one rank. After an honest jump of the level
    the limit is among the new norms once q percent of the window are old: after `(1 - percentile / 100) * window`
    steps, 900 with the defaults and 100 for `percentile=90`; a shorter window answers faster.

    `AutoClip(window=None, include_current=True)` is the paper's rule: all norms there ever were, the current one
    included. The limit is then exact for 1024 steps, and afterwards within 0.55 % of the exact percentile, read from
    72 KiB of counts on a logarithmic scale; a step costs the same at any time.

    Norms that are zero or not finite enter no history.

    Args:
        percentile: q, in percent, 0-100.
        window: How many norms are remembered, in optimizer steps; `None` for all.
        include_current: Whether the current norm takes part in its own limit, as in the paper.
        min_history: How many norms must be known before the first step is clipped.
        history: What is remembered of a norm: itself (`"observed"`), or at most twice the limit (`"winsorized"`).
            A percentile of clipped norms could only fall, so there is no such choice.
        min_scale: Smallest factor on the gradients, in [0, 1].

    Raises:
        ValueError: An argument is out of its range, or a winsorized history is to include the current norm, which it
            can not: what to store depends on the limit.

    Example:
        >>> AutoClip(90.0, window=200)
        AutoClip(percentile=90.0, window=200, include_current=False, min_history=1, history='observed', min_scale=0.0)

    References:
        Prem Seetharaman, Gordon Wichern, Bryan Pardo, Jonathan Le Roux, "AutoClip: Adaptive Gradient Clipping for
        Source Separation Networks", 2020, https://arxiv.org/abs/2007.14469. We depart in the defaults, which use the
        norms before the current one and a window, and everywhere in the exact quotient (the authors' code adds 1e-6
        to the norm), in passing over zeros and non-finite norms, of which one turns all later limits into NaN there,
        and in what a checkpoint holds.
    """

    def __init__(
        self,
        percentile: float = 10.0,
        *,
        window: int | None = 1000,
        include_current: bool = False,
        min_history: int = 1,
        history: Literal["observed", "winsorized"] = "observed",
        min_scale: float = 0.0,
    ) -> None:
        super().__init__()
        check_percentile("AutoClip", percentile=percentile)
        check_fraction("AutoClip", min_scale=min_scale)
        check_choice("AutoClip", ("observed", "winsorized"), history=history)
        check_count("AutoClip", min_history=min_history)
        if window is not None:
            check_count("AutoClip", window=window)
        if include_current and history != "observed":
            raise ArgumentError(
                f"AutoClip(include_current=True, history={history!r}): what to store depends on the limit, which would "
                f"depend on what is stored; use history='observed' or include_current=False."
            )
        self.percentile = percentile
        self.window = window
        self.include_current = include_current
        self.min_history = min_history
        self.history = history
        self.min_scale = min_scale
        self.norms = QuantileSketch() if window is None else Window(window)
        self.intake = Intake(history)

    def decide(self, grads: Gradients) -> Action:
        """Scale by `min(1, percentile / total norm)`."""
        if not len(grads):
            return Keep()
        norm = grads.total_norm()
        self.norms.match(norm)
        if self.include_current:
            self.norms.push(*self.intake.take(norm, norm))
        known = self.norms.count >= self.min_history
        threshold = torch.where(known, self.norms.quantile(self.percentile / 100), torch.inf)
        if not self.include_current:
            self.norms.push(*self.intake.take(norm, threshold))
        return Scale(clip_coef(norm, threshold, min_scale=self.min_scale), threshold)
