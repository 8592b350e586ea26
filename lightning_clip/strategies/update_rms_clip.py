"""`UpdateRMSClip`: clip each gradient by the size of Adam's next update."""

from typing import Self

import torch
from torch import Tensor

from lightning_clip._checks import check_fraction, check_positive_finite
from lightning_clip.core.actions import Action, Keep, ScaleEach
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.optimizer_state import second_moments
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.blocks import Block, Blocks, joined, only
from lightning_clip.functional.scaling import clip_coef
from lightning_clip.functional.sharded import reduce_powers, sharding_of

_LEAST_DECAY = 1e-7


class UpdateRMSClip(ClipStrategy):
    r"""Scale the gradient of each parameter so that Adam's normalized update stays near a given size.

    $$\hat g_i = \frac{g_i}{\max(1, r_i / \text{max\_rms})}, \qquad
    r_i = \sqrt{\operatorname{mean}\left(\frac{g_i^2}{\max(\hat v_i', \epsilon^2)}\right)}$$

    $\hat v'$ is the bias-corrected second moment that the optimizer will hold after the step. $r_i$ is about 1 while
    gradients keep their usual size, and exceeds 1 when they grow faster than `exp_avg_sq` follows, which often precedes
    a loss spike. It works with every optimizer that keeps `exp_avg_sq` (Adam, AdamW, NAdam, RAdam, Adam with AMSGrad)
    and has no state of its own. It ignores coupled weight decay. A NaN or infinite gradient is left unchanged.

    Args:
        max_rms: Largest root mean square of a normalized update, dimensionless.
        eps: Smallest root of a second moment to divide by, in the unit of the loss gradient.
        min_scale: Smallest scaling factor, in [0, 1].

    Raises:
        ArgumentTypeError: An argument has the wrong type.
        ArgumentError: `max_rms` or `eps` is not positive, or `min_scale` is outside [0, 1]. At a step: the gradients
            have no optimizer, or one that keeps no second moments.

    Example:
        >>> UpdateRMSClip(1.0)
        UpdateRMSClip(max_rms=1.0, eps=1e-06, min_scale=0.0)

    References:
        Mitchell Wortsman, Tim Dettmers, Luke Zettlemoyer, Ari Morcos, Ali Farhadi, Ludwig Schmidt, "Stable and
        low-precision training for large-scale vision-language models", 2023, https://arxiv.org/abs/2304.13013
        (StableAdamW). The paper divides the learning rate of the tensor. A callback acts before the step, so it divides
        the gradient, and both moments take in less of it too.
    """

    scheduled_arg = "max_rms"

    def __init__(self, max_rms: float = 1.0, *, eps: float = 1e-6, min_scale: float = 0.0) -> None:
        super().__init__()
        check_positive_finite("UpdateRMSClip", max_rms=max_rms, eps=eps)
        check_fraction("UpdateRMSClip", min_scale=min_scale)
        self.max_rms = max_rms
        self.eps = eps
        self.min_scale = min_scale
        self._blocks = Blocks()
        self._roots: tuple[list[int], Tensor] | None = None

    @classmethod
    def reference(cls, max_rms: float = 1.0, *, eps: float = 1e-6) -> Self:
        """StableAdamW's factor with its constants, up to rounding, but on the gradient instead of the learning rate.

        Args:
            max_rms: Largest root mean square of a normalized update.
            eps: Smallest root of a second moment.

        Returns:
            The strategy.
        """
        return cls(max_rms, eps=eps)

    def decide(self, grads: Gradients) -> Action:
        """Scale each gradient by `min(1, max_rms / r)`."""
        if not len(grads):
            return Keep()
        return ScaleEach(clip_coef(self.update_rms(grads), self.max_rms, min_scale=self.min_scale))

    def update_rms(self, grads: Gradients) -> Tensor:
        """The root mean square of each normalized update that the optimizer is about to make.

        Args:
            grads: The gradients of this step, at least one, with their optimizer.

        Returns:
            `(n,)`, dimensionless; 0 for an empty tensor.
        """
        moments, locals_ = second_moments(grads, asked_by=self), grads.locals
        # All averages are divided by the weight of the old one, which saves a pass over them; the norms get it back.
        # It is 0 for an optimizer without memory, whose updates are all of size 1.
        decays = moments.decays.clamp(min=_LEAST_DECAY)
        weights = decays / moments.corrections(steps_ahead=1)
        shared = [(values, only(values)) for values in ((1 - decays) / decays, 1 / decays, self.eps**2 / weights)]
        found: list[tuple[Block, Tensor]] = []
        for block in self._blocks.of(locals_):
            gradient = block.gather(locals_)
            gradient = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
            new, whole, floor = (
                block.spread(values, like=gradient) if number is None else number for values, number in shared
            )
            value = block.gather(moments.values, second=True).to(gradient.dtype)
            if isinstance(new, Tensor):
                value.addcmul_(gradient * gradient, new)
            else:
                value.addcmul_(gradient, gradient, value=new)
            if moments.largest is not None:
                value = torch.maximum(value, block.flatten(moments.largest).to(gradient.dtype).mul_(whole))
            tiny = torch.finfo(value.dtype).tiny
            floor = floor.clamp(min=tiny) if isinstance(floor, Tensor) else max(floor, tiny)
            found.append((block, block.norms(gradient.div_(value.clamp_(min=floor).sqrt_()))))
        norms = joined(found, locals_)
        if not grads.are_plain:
            norms = torch.stack(reduce_powers(list(norms), [sharding_of(tensor) for tensor in grads.tensors], 2.0))
        return norms / (self._roots_of(grads.numels(), norms) * weights.sqrt().to(norms))

    def _roots_of(self, numels: list[int], like: Tensor) -> Tensor:
        """The square roots of the numbers of elements, cached: copying a list to an accelerator blocks the host."""
        if self._roots is None or self._roots[0] != numels or self._roots[1].device != like.device:
            roots = torch.tensor([max(1, numel) ** 0.5 for numel in numels], dtype=torch.float64)
            self._roots = numels, roots.to(like)
        return self._roots[1]
