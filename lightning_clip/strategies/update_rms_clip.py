"""`UpdateRMSClip`: each gradient by the size of the update that Adam is about to make of it."""

import torch
from torch import Tensor

from lightning_clip._checks import check_fraction, check_positive
from lightning_clip.core.actions import Action, Keep, ScaleEach
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.optimizer_state import second_moments
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.norms import tensor_norms
from lightning_clip.functional.scaling import clip_coef
from lightning_clip.functional.sharded import reduce_powers, sharding_of


class UpdateRMSClip(ClipStrategy):
    r"""Scale the gradient of each parameter so that Adam's normalized update stays near a given size.

    $$\hat g_i = \frac{g_i}{\max(1, r_i / \text{max\_rms})}, \qquad
    r_i = \sqrt{\operatorname{mean}\left(\frac{g_i^2}{\max(\hat v_i', \epsilon^2)}\right)}$$

    $\hat v'$ is the second moment, bias-corrected, that the optimizer will hold after the step. $r_i$ is about 1 while
    gradients are as large as they used to be, and exceeds 1 where they grow faster than `exp_avg_sq` follows, which
    often comes before a spike of the loss. It works with every optimizer that keeps `exp_avg_sq` (Adam, AdamW, NAdam,
    RAdam, Adam with AMSGrad) and has no state of its own. Coupled weight decay is not part of what it looks at. A
    gradient that is not finite is left as it is.

    Args:
        max_rms: Largest root mean square of a normalized update, without unit.
        eps: Smallest root of a second moment that is divided by, in the unit of the gradient of the loss.
        min_scale: Smallest factor, in [0, 1].

    Raises:
        ValueError: `max_rms` or `eps` is not positive, or `min_scale` is not in [0, 1]; when deciding, gradients come
            without an optimizer, or with one that keeps no second moments.

    Example:
        >>> UpdateRMSClip(1.0)
        UpdateRMSClip(max_rms=1.0, eps=1e-06, min_scale=0.0)

    References:
        Mitchell Wortsman, Tim Dettmers, Luke Zettlemoyer, Ari Morcos, Ali Farhadi, Ludwig Schmidt, "Stable and
        low-precision training for large-scale vision-language models", 2023, https://arxiv.org/abs/2304.13013
        (StableAdamW). The paper divides the learning rate of the tensor; a callback that acts before the step divides
        its gradient, so that both moments take in less of it too.
    """

    scheduled_arg = "max_rms"

    def __init__(self, max_rms: float = 1.0, *, eps: float = 1e-6, min_scale: float = 0.0) -> None:
        super().__init__()
        check_positive("UpdateRMSClip", max_rms=max_rms, eps=eps)
        check_fraction("UpdateRMSClip", min_scale=min_scale)
        self.max_rms = max_rms
        self.eps = eps
        self.min_scale = min_scale

    def decide(self, grads: Gradients) -> Action:
        """Scale each by `min(1, max_rms / r)`."""
        if not len(grads):
            return Keep()
        return ScaleEach(clip_coef(self.update_rms(grads), self.max_rms, min_scale=self.min_scale))

    def update_rms(self, grads: Gradients) -> Tensor:
        """The root mean square of each normalized update that is about to be made.

        Args:
            grads: The gradients of this step, at least one, with their optimizer.

        Returns:
            `(n,)`, without unit; 0 for an empty tensor.
        """
        norms = [
            tensor_norms([gradient / moment.next_root(gradient).clamp_(min=self.eps)])[0]
            for gradient, moment in zip(grads.locals, second_moments(grads, asked_by=self), strict=True)
        ]
        norms = reduce_powers(norms, [sharding_of(tensor) for tensor in grads.tensors], 2.0)
        return torch.stack(torch._foreach_div(norms, [max(1, numel) ** 0.5 for numel in grads.numels()]))
