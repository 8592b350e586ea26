"""`TotalNormStrategy`: base class of the rules that decide on the total norm alone."""

from abc import abstractmethod

import numpy as np
from torch import Tensor

from lightning_clip.core.actions import Action, Keep
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.scalars import Scalar


class TotalNormStrategy(ClipStrategy):
    """A rule that needs one number of the gradients, their total norm.

    It is written once and runs in two ways. Where the norm is free to read, it is a number of numpy, and a decision
    takes a few microseconds. On an accelerator it is a tensor, and nothing is read. See `functional/scalars.py` for
    what works on both.

    Attributes:
        norm_type: p of the p-norm.
    """

    norm_type: float = 2.0

    def decide(self, grads: Gradients) -> Action:
        """Decide on the total norm; without gradients there is nothing to decide."""
        if not len(grads):
            return Keep()
        norm = grads.total(self.norm_type)
        if isinstance(norm, Tensor):
            return self.decide_on(norm)
        with np.errstate(all="ignore"):  # as tensors do, numbers may overflow or become NaN without a word
            return self.decide_on(norm)

    @abstractmethod
    def decide_on(self, norm: Scalar) -> Action:
        """Decide what to do with gradients of this total norm; may update the state.

        Args:
            norm: The total norm, at least 0, NaN or infinite; a number or a tensor `()`.

        Returns:
            The action to apply, usually a `Scale`.
        """
