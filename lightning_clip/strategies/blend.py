"""`Blend`: from one strategy to another, a little at each step."""

import torch
from torch import Tensor

from lightning_clip._checks import check_count
from lightning_clip.core.actions import Action, Scale, ScaleEach
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.strategies.no_clip import NoClip


class Blend(ClipStrategy):
    r"""Move from the factors of one strategy to those of another over some steps, evenly in their logarithm.

    $$s_k = s_{\text{start}}^{1 - w_k}\, s_{\text{end}}^{w_k}, \qquad w_k = \min(1, k / \text{steps})$$

    Both decide at each step. Where either decides something other than a scale, the second one acts at once.

    Args:
        start: The strategy at the beginning; `NoClip()` by default.
        end: The strategy at the end; `NoClip()` by default.
        steps: Optimizer steps until only `end` acts.

    Raises:
        ValueError: `steps` is less than 1.

    Example:
        >>> from lightning_clip import NormClip
        >>> Blend(NormClip(0.1), NormClip(10.0), steps=20).label
        'Blend(NormClip(0.1) → NormClip(10.0))'

    References:
        None: what `StrategySwitcher` does when it loosens, so that the step size does not jump.
    """

    done: Tensor

    def __init__(self, start: ClipStrategy | None = None, end: ClipStrategy | None = None, *, steps: int = 10) -> None:
        super().__init__()
        check_count("Blend", steps=steps)
        self.start = start or NoClip()
        self.end = end or NoClip()
        self.steps = steps
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))

    @property
    def label(self) -> str:
        """Both labels."""
        return f"Blend({self.start.label} → {self.end.label})"

    def decide(self, grads: Gradients) -> Action:
        """Scale by the weighted geometric mean of both factors."""
        first, last = self.start.decide(grads), self.end.decide(grads)
        if first.coefs is None or last.coefs is None:
            return last
        self.done += 1
        weight = torch.clamp(self.done / self.steps, max=1.0)
        coefs = first.coefs ** (1 - weight) * last.coefs**weight
        return ScaleEach(coefs, last.threshold) if coefs.ndim else Scale(coefs, last.threshold)
