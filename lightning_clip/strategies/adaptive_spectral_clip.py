"""`AdaptiveSpectralClip`: limit the singular values of each weight's gradient relative to their usual size."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_clip._checks import check_count, check_decay, check_positive_finite
from lightning_clip.core.actions import Action, Keep
from lightning_clip.core.element_actions import Replace
from lightning_clip.core.globs import Globs
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.state import EXPLOSION, ExplosionTable, PerParameter, check_explosion, has_signal
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.averaging import next_average
from lightning_clip.strategies.spectral_clip import spectrally_clipped


class AdaptiveSpectralClip(ClipStrategy):
    r"""Limit the singular values of the gradient of each weight smoothly, relative to their usual size.

    $$\hat G = U \, \mathrm{diag}\left(\frac{\sigma_i}{\sqrt{1 + \sigma_i^2 / c^2}}\right) V^T, \qquad
    c = \text{clip\_factor} \cdot \operatorname{EMA}\left(\frac{\lVert G \rVert_F}{\sqrt{\min(m, n)}}\right)$$

    This is `SpectralClip` without a scale to choose. The usual size is a bias-corrected average, over earlier steps, of
    the root mean square of the singular values of an `(m, n)` gradient, which follows from its norm. It takes one
    number per parameter. A gradient whose singular values are all alike is scaled by at least
    `1 / sqrt(1 + 1 / clip_factor²)`, and a dominant direction is cut back toward the limit. Weights with at most one
    dimension have a single singular value, their norm.

    The first gradient of a parameter is bent at `max_start`. Later ones enter the average as at most twice its value.
    Zero gradients are skipped. A step with a NaN or infinite gradient does not change any average. See `SpectralClip`
    for the cost, for sharded weights and for precision.

    Args:
        clip_factor: The limit relative to the usual root mean square of the singular values.
        decay: Weight of the past in the average, in [0, 1).
        max_start: The limit of the first gradient of each parameter, in the unit of the loss gradient.
        explosion: A norm above this multiple of what the limit allows is an explosion and not a new level: after five
            in a row, only one in twenty is stored. `inf` stores all.
        iterations: Number of Newton-Schulz iterations; see `SpectralClip`.
        exclude: Globs over parameter names to leave unclipped.

    Raises:
        ArgumentTypeError: An argument has the wrong type, or `exclude` is a string instead of a list.
        ArgumentError: An argument is out of range. At a step: a gradient is sparse, or a glob matches no parameter.

    Example:
        >>> AdaptiveSpectralClip(5.0).label
        'AdaptiveSpectralClip(5.0)'

    References:
        Xiaowen Jiang, Andrei Semenov, Sebastian U. Stich, "Enhancing LLM Training via Spectral Clipping", 2026,
        https://arxiv.org/abs/2603.14315, for the map. Its limit is fixed, or follows the learning rate; the average is
        ours.
    """

    def __init__(
        self,
        clip_factor: float = 3.0,
        *,
        decay: float = 0.98,
        max_start: float = 1.0,
        explosion: float = EXPLOSION,
        iterations: int = 16,
        exclude: Sequence[str] = (),
    ) -> None:
        super().__init__()
        check_positive_finite("AdaptiveSpectralClip", clip_factor=clip_factor, max_start=max_start)
        check_decay("AdaptiveSpectralClip", decay=decay)
        check_explosion("AdaptiveSpectralClip", explosion)
        check_count("AdaptiveSpectralClip", iterations=iterations)
        self.clip_factor = clip_factor
        self.decay = decay
        self.max_start = max_start
        self.explosion = explosion
        self.iterations = iterations
        self._excluded = Globs(f"AdaptiveSpectralClip(exclude={exclude!r})", exclude, exclusive=False)
        self.exclude = tuple(exclude)
        self.levels = PerParameter(level=0.0, steps=0.0)
        self.explosions = ExplosionTable(explosion)
        self._roots: dict[object, Tensor] = {}

    def decide(self, grads: Gradients) -> Action:
        """Replace each gradient with its clipped version."""
        excluded = [glob is not None for glob in self._excluded.of(grads)]
        if not len(grads):
            return Keep()
        roots = self._roots_of_ranks(grads)
        level, steps = self.levels.take(grads)
        limits = torch.where(steps > 0, self.clip_factor * level, self.max_start)
        self._learn(grads, grads.norms() / roots, limits)
        return Replace(
            spectrally_clipped(grads, limits, excluded, iterations=self.iterations, call="AdaptiveSpectralClip")
        )

    def _learn(self, grads: Gradients, sizes: Tensor, limits: Tensor) -> None:
        level, steps = self.levels.take(grads)
        observed = has_signal(grads, sizes)
        value = torch.minimum(sizes, torch.where(steps > 0, 2 * level, limits))
        value, enters = self.explosions.take_each(grads.names, sizes, limits, value, observed & (steps > 0))
        learned = next_average(level, value, decay=self.decay, count=steps)
        stored = observed & enters
        tiny = torch.finfo(level.dtype).tiny  # a level of zero would lock out all later values
        self.levels.put(grads, torch.where(stored, learned.clamp(min=tiny), level), steps + stored)

    def _roots_of_ranks(self, grads: Gradients) -> Tensor:
        """The square root of the largest possible rank of each gradient, `(n,)`, cached."""
        norms = grads.norms()
        key = grads.names, norms.device, norms.dtype
        if key not in self._roots:
            if len(self._roots) >= 64:
                self._roots.clear()
            ranks = [min(p.shape[0], p.numel() // max(1, p.shape[0])) if p.ndim > 1 else 1 for p in grads.params]
            self._roots[key] = norms.new_tensor([math.sqrt(max(1, rank)) for rank in ranks])
        return self._roots[key]
