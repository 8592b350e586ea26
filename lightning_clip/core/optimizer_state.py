"""What optimizers keep: learning rate, the second moments that rules read, the first moments that a climb resets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_clip._errors import ArgumentError
from lightning_clip.core.gradients import Gradients
from lightning_clip.functional.norms import local_values
from lightning_clip.functional.reading import is_free_to_read


@dataclass(slots=True)
class SecondMoments:
    """The running averages of squared gradients that an optimizer keeps, without bias correction.

    Attributes:
        values: The average of each parameter, of its (local) shape; 0 before the first step.
        largest: The largest averages so far, which AMSGrad divides by instead; `None` for other optimizers.
        decays: The decay rate of each average, β2, float64 `(n,)`.
        steps: The number of steps in each average, float64 `(n,)`.
    """

    values: list[Tensor]
    largest: list[Tensor] | None
    decays: Tensor
    steps: Tensor

    def corrections(self, *, steps_ahead: int = 0) -> Tensor:
        """The total weight in each average, `1 - β2^steps`, float64 `(n,)`.

        Args:
            steps_ahead: How many steps later.
        """
        return -torch.expm1((self.steps + steps_ahead) * self.decays.log())


def second_moments(grads: Gradients, *, asked_by: object) -> SecondMoments:
    """Read the second moment of each parameter that has a gradient.

    Args:
        grads: The gradients of this step, with their optimizer.
        asked_by: The strategy that needs the second moments, quoted in error messages.

    Returns:
        The second moments of `n` parameters.

    Raises:
        ArgumentError: The gradients have no optimizer, it keeps no second moments, or a gradient is sparse or complex.
    """
    if grads.optimizer is None:
        raise ArgumentError(
            f"{asked_by!r} reads the second moments of the optimizer, but these gradients come without one: "
            "create them with Gradients.of_optimizer(optimizer), or use AdaGC()."
        )
    for name, tensor in zip(grads.names, grads.tensors, strict=True) if _may_be_unfit(grads) else ():
        if tensor.layout is not torch.strided or tensor.is_complex():
            raise ArgumentError(
                f"{asked_by!r} needs dense, real gradients, but that of {name!r} is sparse or complex: use AdaGC()."
            )
    group_of = {id(param): group for group in grads.optimizer.param_groups for param in group["params"]}
    found = [_state_of(grads.optimizer, group_of[id(param)], param, asked_by) for param in grads.params]
    largest = [state.get("max_exp_avg_sq") for state, _, _ in found]
    local = (lambda tensor: tensor) if grads.are_plain else local_values
    return SecondMoments(
        values=[
            local(state["exp_avg_sq"]) if state else torch.zeros_like(tensor)
            for (state, _, _), tensor in zip(found, grads.locals, strict=True)
        ],
        largest=None if any(one is None for one in largest) else [local(one) for one in largest],  # type: ignore[arg-type]
        decays=_column([decay for _, decay, _ in found], grads.device),
        steps=_column([steps for _, _, steps in found], grads.device),
    )


def _may_be_unfit(grads: Gradients) -> bool:
    return not grads.are_plain or any(dtype.is_complex for dtype in {tensor.dtype for tensor in grads.tensors})


def _column(numbers: Sequence[float | Tensor], device: torch.device) -> Tensor:
    """Numbers or tensors `()` as one float64 tensor, without waiting for a device."""
    if any(isinstance(number, Tensor) for number in numbers):
        tensors = [
            number if isinstance(number, Tensor) else torch.tensor(float(number), dtype=torch.float64)
            for number in numbers
        ]
        column = torch.stack(tensors) if len({tensor.device for tensor in tensors}) == 1 else _gathered(tensors)
    else:
        column = torch.tensor(numbers, dtype=torch.float64)
    return column.to(device=device, dtype=torch.float64, non_blocking=True)


def _gathered(tensors: Sequence[Tensor]) -> Tensor:
    far = next(tensor.device for tensor in tensors if not tensor.is_cpu)
    return torch.stack([tensor.to(far, non_blocking=True) for tensor in tensors])


def _state_of(
    optimizer: Optimizer, group: Mapping[str, Any], param: Tensor, asked_by: object
) -> tuple[Mapping[str, Any], float | Tensor, float | Tensor]:
    """What the optimizer keeps for a parameter, the decay of its second moment, and the number of its steps."""
    state = optimizer.state.get(param, {})
    steps = state.get("step", group.get("step", None if state else 0.0))
    if "betas" not in group or (state and "exp_avg_sq" not in state) or steps is None:
        raise ArgumentError(
            f"{asked_by!r} needs an optimizer that keeps second moments (`exp_avg_sq`), such as Adam, AdamW, NAdam or "
            f"RAdam, but {type(optimizer).__name__} keeps none: change the optimizer, or use AdaGC()."
        )
    return state, group["betas"][1], steps


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


def non_finite_moments(optimizer: Optimizer) -> list[tuple[Tensor, str]]:
    """Find what an optimizer keeps for its parameters and that is NaN or infinite; reads the device once.

    Args:
        optimizer: The optimizer, after a step.

    Returns:
        The parameter, and the optimizer's name, of each such tensor of the parameter's shape.
    """
    found = [
        (param, name, local_values(value).isfinite().all())
        for param, state in optimizer.state.items()
        for name, value in state.items()
        if isinstance(value, Tensor) and value.shape == param.shape and value.is_floating_point()
    ]
    if not found:
        return []
    flags = torch.stack([flag.to(found[0][2].device) for *_, flag in found]).tolist()
    return [(param, name) for (param, name, _), is_finite in zip(found, flags, strict=True) if not is_finite]
