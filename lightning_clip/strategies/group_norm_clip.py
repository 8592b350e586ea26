"""`GroupNormClip`: clip named groups of parameters, each by the norm of its own gradients."""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from lightning_clip._checks import check_choice, check_fraction, check_instance, check_rule
from lightning_clip._errors import ArgumentError, ArgumentTypeError
from lightning_clip.core.actions import Action, Keep, ScaleEach
from lightning_clip.core.globs import REST, Globs
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.norms import combine_norms
from lightning_clip.functional.scaling import clip_coef


class GroupNormClip(ClipStrategy):
    r"""Scale the gradients of each group of parameters so that the norm of the group is at most its limit.

    $$\hat g_A = \min\left(1, \max\left(\text{min\_scale}, \frac{c_A}{\lVert g_A \rVert}\right)\right) g_A$$

    A group consists of the parameters that one glob matches. The direction within a group is kept; the overall
    direction is not. Parameters that no glob matches are left unchanged. The glob `"*"` by itself stands for all
    parameters that no other glob matches. A group with a NaN or infinite norm is left unchanged, and the other groups
    are still clipped.

    Args:
        max_norms: Largest norm of each group, by glob over parameter names (`*`, `?`, `[ab]`), in the unit of the loss
            gradient. By default all parameters form one group with a limit of 1.
        kind: `"l2"` limits the 2-norm of the group; `"rms"` limits the root mean square of its elements, which does not
            grow with the size of the group.
        min_scale: Smallest scaling factor, in [0, 1]. Above 0, a gradient never vanishes, but its norm may stay above
            the limit.

    Raises:
        ArgumentTypeError: A limit is not a number.
        ArgumentError: A limit is not positive, `max_norms` is empty, or `kind` is unknown. At the first step: a glob
            matches no parameter, with or without a gradient, or two globs match the same one.

    Example:
        >>> GroupNormClip({"encoder.*": 0.5, "*": 1.0})
        GroupNormClip(max_norms={'encoder.*': 0.5, '*': 1.0}, kind='l2', min_scale=0.0)

    References:
        Noam Shazeer, Mitchell Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018,
        https://arxiv.org/abs/1804.04235, for the root mean square. The paper takes it over each update; we take it over
        gradients.
    """

    def __init__(
        self,
        max_norms: dict[str, float] | None = None,
        *,
        kind: Literal["l2", "rms"] = "l2",
        min_scale: float = 0.0,
    ) -> None:
        super().__init__()
        check_instance("GroupNormClip", Mapping, or_none=True, max_norms=max_norms)
        self.max_norms = {REST: 1.0} if max_norms is None else dict(max_norms)
        if not self.max_norms:
            raise ArgumentError("GroupNormClip(max_norms={}): max_norms needs at least one glob, such as {'*': 1.0}.")
        call = f"GroupNormClip(max_norms={self.max_norms!r})"
        for glob, limit in self.max_norms.items():
            is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
            if not isinstance(glob, str) or not is_number:
                raise ArgumentTypeError(f"{call}: expected a number for each glob, found {limit!r} for {glob!r}.")
            check_rule(call, f"the limit of {glob!r} must be a positive, finite number", holds=0 < limit < math.inf)
        check_choice("GroupNormClip", ("l2", "rms"), kind=kind)
        check_fraction("GroupNormClip", min_scale=min_scale)
        self.kind = kind
        self.min_scale = min_scale
        self._globs = Globs(call, self.max_norms)

    @classmethod
    def rnn(
        cls,
        input_hidden: float | None = 1.0,
        hidden_hidden: float | None = 1.0,
        bias: float | None = 1.0,
        other: float | None = None,
    ) -> "GroupNormClip":
        """Groups for networks with `torch.nn.RNN`, `LSTM`, `GRU` or their cells anywhere in the model.

        In a configuration file: `class_path: lightning_clip.GroupNormClip.rnn`.

        Args:
            input_hidden: Largest combined norm of the input-to-hidden weights of all layers (`weight_ih_l0`, …); `None`
                leaves them unclipped.
            hidden_hidden: The same for the hidden-to-hidden weights, including the projections of an LSTM
                (`weight_hr_l0`).
            bias: The same for the biases; `None` for layers with `bias=False`.
            other: The same for all other parameters.

        Returns:
            The strategy.

        Example:
            >>> GroupNormClip.rnn(hidden_hidden=0.5, bias=None).max_norms
            {'*weight_ih*': 1.0, '*weight_h[hr]*': 0.5}
        """
        limits = {"*weight_ih*": input_hidden, "*weight_h[hr]*": hidden_hidden, "*bias_[ih]h*": bias, REST: other}
        return cls({glob: limit for glob, limit in limits.items() if limit is not None})

    def decide(self, grads: Gradients) -> Action:
        """Scale each group by `min(1, max(min_scale, limit / norm))`."""
        globs = self._globs.of(grads)
        if not len(grads):
            return Keep()
        norms, numels = grads.norms().unbind(), grads.numels()
        members = {glob: [i for i, other in enumerate(globs) if other == glob] for glob in set(globs)}
        coefs = {None: torch.ones_like(norms[0])} | {
            glob: self._coef(glob, torch.stack([norms[i] for i in own]), sum(numels[i] for i in own))
            for glob, own in members.items()
            if glob is not None
        }
        return ScaleEach(torch.stack([coefs[glob] for glob in globs]))

    def _coef(self, glob: str, norms: Tensor, numel: int) -> Tensor:
        """The factor for one group, `()`, from the norms of its gradients, `(n,)`, and its number of elements."""
        limit = self.max_norms[glob] * (math.sqrt(numel) if self.kind == "rms" else 1.0)
        coef: Tensor = clip_coef(combine_norms(norms), limit, min_scale=self.min_scale)
        return coef
