"""What optimizers keep: learning rate, the second moments that rules read, the first moments that a climb resets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_clip._errors import ArgumentError
from lightning_clip.core.gradients import Gradients
from lightning_clip.functional.averaging import bias_correction
from lightning_clip.functional.norms import local_values
from lightning_clip.functional.reading import is_free_to_read


@dataclass(slots=True)
class SecondMoment:
    """The running average of squared gradients that an optimizer keeps for one parameter, without bias correction.

    Attributes:
        value: The average after `steps` steps, float32 or better, of the parameter's (local) shape; 0 before the first
            step.
        largest: The largest average so far, which AMSGrad divides by instead; `None` for other optimizers.
        decay: The decay rate of the average, β2.
        steps: The number of steps averaged, `()`, on the device where the optimizer counts them.
    """

    value: Tensor
    largest: Tensor | None
    decay: float | Tensor
    steps: Tensor

    def root(self) -> Tensor:
        """Return the square root of the bias-corrected average; NaN before the first step."""
        return (self.value / bias_correction(self.decay, self.steps)).sqrt()

    def next_root(self, gradient: Tensor) -> Tensor:
        """Return what `root` becomes after one more step with this gradient, which is what Adam then divides by.

        Args:
            gradient: The gradient, of the shape of `value`.

        Returns:
            A tensor of the shape of `value`; at the first step, the absolute gradient.
        """
        value = gradient.to(self.value.dtype).square().mul_(1 - self.decay).add_(self.decay * self.value)
        if self.largest is not None:
            value = torch.maximum(value, self.largest)
        return value.div_(bias_correction(self.decay, self.steps + 1)).sqrt_()


def second_moments(grads: Gradients, *, asked_by: object) -> list[SecondMoment]:
    """Read the second moment of each parameter that has a gradient.

    Args:
        grads: The gradients of this step, with their optimizer.
        asked_by: The strategy that needs the second moments, quoted in error messages.

    Returns:
        `n` second moments.

    Raises:
        ArgumentError: The gradients have no optimizer, it keeps no second moments, or a gradient is sparse or complex.
    """
    if grads.optimizer is None:
        raise ArgumentError(
            f"{asked_by!r} reads the second moments of the optimizer, but these gradients come without one: "
            "create them with Gradients.of_optimizer(optimizer), or use AdaGC()."
        )
    for name, tensor in zip(grads.names, grads.tensors, strict=True):
        if tensor.layout is not torch.strided or tensor.is_complex():
            raise ArgumentError(
                f"{asked_by!r} needs dense, real gradients, but that of {name!r} is sparse or complex: use AdaGC()."
            )
    group_of = {id(param): group for group in grads.optimizer.param_groups for param in group["params"]}
    return [
        _second_moment(grads.optimizer, group_of[id(param)], param, gradient, asked_by)
        for param, gradient in zip(grads.params, grads.locals, strict=True)
    ]


def _second_moment(
    optimizer: Optimizer, group: Mapping[str, Any], param: Tensor, gradient: Tensor, asked_by: object
) -> SecondMoment:
    state = optimizer.state.get(param, {})
    steps = state.get("step", group.get("step", None if state else 0.0))
    if "betas" not in group or (state and "exp_avg_sq" not in state) or steps is None:
        raise ArgumentError(
            f"{asked_by!r} needs an optimizer that keeps second moments (`exp_avg_sq`), such as Adam, AdamW, NAdam or "
            f"RAdam, but {type(optimizer).__name__} keeps none: change the optimizer, or use AdaGC()."
        )
    dtype = torch.promote_types(gradient.dtype, torch.float32)
    largest = state.get("max_exp_avg_sq")
    return SecondMoment(
        value=local_values(state["exp_avg_sq"]).to(dtype) if state else torch.zeros_like(gradient, dtype=dtype),
        largest=None if largest is None else local_values(largest).to(dtype),
        decay=group["betas"][1],
        steps=torch.as_tensor(steps).to(dtype),
    )


# How torch's optimizers name their first moments: SGD and RMSprop use one, the Adam family the other.
_FIRST_MOMENTS = ("momentum_buffer", "exp_avg")


@torch.no_grad()
def reset_momentum_(optimizer: Optimizer) -> None:
    """Set an optimizer's first moments to zero in place; second moments and step counters stay.

    Args:
        optimizer: An optimizer such as SGD with momentum or Adam; one without first moments is left unchanged.
    """
    for state in optimizer.state.values():
        for name in _FIRST_MOMENTS:
            moment = state.get(name)
            if moment is not None:
                moment.zero_()


def learning_rate_of(optimizer: Optimizer | None) -> Tensor | float | None:
    """Return the learning rate of an optimizer's first parameter group, without reading the device.

    Args:
        optimizer: The optimizer that is about to step; `None` if there is none.

    Returns:
        A number, or a copy of a tensor on the device, which a scheduler may overwrite, `()`; `None` if unknown.
    """
    rate = optimizer.param_groups[0].get("lr") if optimizer is not None and optimizer.param_groups else None
    if not isinstance(rate, Tensor):
        return None if rate is None else float(rate)
    return rate.item() if is_free_to_read(rate) else rate.detach().clone().reshape(())
