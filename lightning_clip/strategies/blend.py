"""`Blend`: move from one strategy to another over several steps."""

import torch
from torch import Tensor

from lightning_clip._checks import check_count, check_instance
from lightning_clip.core.actions import Action, Scale, ScaleEach
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.state import has_signal
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.strategies.no_clip import NoClip


class Blend(ClipStrategy):
    r"""Move from the factors of one strategy to those of another over some steps, at an even pace in their logarithm.

    $$s_k = s_{\text{start}}^{1 - w_k}\, s_{\text{end}}^{w_k}, \qquad w_k = \min(1, k / \text{steps})$$

    Both strategies decide at each step. If either decides something other than a scale, `end` takes over at once for
    that step. A step whose norm is zero, NaN or infinite does not count.

    Args:
        start: The strategy to start with; `NoClip()` by default.
        end: The strategy to end with; `NoClip()` by default.
        steps: Optimizer steps until only `end` acts.

    Raises:
        ArgumentTypeError: `steps` is not a whole number.
        ArgumentError: `steps` is less than 1.

    Example:
        >>> from lightning_clip import NormClip
        >>> Blend(NormClip(0.1), NormClip(10.0), steps=20).label
        'Blend(NormClip(0.1) → NormClip(10.0))'

    References:
        None. `StrategySwitcher` uses it to loosen clipping without a jump in the step size.
    """

    done: Tensor

    def __init__(self, start: ClipStrategy | None = None, end: ClipStrategy | None = None, *, steps: int = 10) -> None:
        super().__init__()
        check_count("Blend", steps=steps)
        check_instance("Blend", ClipStrategy, or_none=True, start=start, end=end)
        self.start = NoClip() if start is None else start
        self.end = NoClip() if end is None else end
        self.steps = steps
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))

    @property
    def label(self) -> str:
        """The labels of both strategies."""
        return f"Blend({self.start.label} → {self.end.label})"

    def decide(self, grads: Gradients) -> Action:
        """Scale by the weighted geometric mean of both factors."""
        first, last = self.start.decide(grads), self.end.decide(grads)
        if first.coefs is None or last.coefs is None:
            return last
        norm = grads.total_norm()
        self.done = self.done.to(norm.device) + has_signal(grads, norm)
        weight = torch.clamp(self.done / self.steps, max=1.0)
        coefs = first.coefs ** (1 - weight) * last.coefs**weight
        return ScaleEach(coefs, last.threshold) if coefs.ndim else Scale(coefs, last.threshold)
