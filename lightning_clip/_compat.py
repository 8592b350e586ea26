"""The few private names of Lightning and torch that we touch, each with its fallback."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from torch import Tensor
    from torch.amp.grad_scaler import GradScaler
    from torch.optim import Optimizer

Function = TypeVar("Function", bound=Callable[..., Any])


def uncompiled(function: Function) -> Function:
    """Keep a function out of the graph of a compiled optimizer: it runs as it is written, and costs no compilation.

    Args:
        function: A hook that an optimizer calls.

    Returns:
        The same function.
    """
    import torch

    result: Function = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
    return result


def batches_that_stepped(trainer: Trainer) -> int:
    """The step that Lightning gives to loggers: batches that made an optimizer step, 0-based.

    Args:
        trainer: A trainer that is fitting.

    Returns:
        The number; `trainer.global_step` where this version of Lightning does not keep it.
    """
    step: int = getattr(trainer.fit_loop.epoch_loop, "_batches_that_stepped", trainer.global_step)
    return step


def should_log(trainer: Trainer) -> bool:
    """Whether Lightning writes metrics to the loggers after this batch.

    Args:
        trainer: A trainer that is fitting.

    Returns:
        Lightning's own answer, or the same rule (`log_every_n_steps`) where it cannot be asked.
    """
    connector = getattr(trainer, "_logger_connector", None)
    answer = getattr(connector, "should_update_logs", None)
    if answer is not None:
        return bool(answer)
    every: int = getattr(trainer, "log_every_n_steps", 0)
    return every > 0 and (batches_that_stepped(trainer) + 1) % every == 0


def grad_scaler(trainer: Trainer) -> GradScaler | None:
    """The gradient scaler of fp16 mixed precision, `None` in every other precision."""
    scaler: GradScaler | None = getattr(trainer.precision_plugin, "scaler", None)
    return scaler if scaler is not None and scaler.is_enabled() else None


def is_fused(optimizer: Optimizer) -> bool:
    """Whether the optimizer unscales gradients in its own step, so that Lightning leaves them scaled."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))


def is_unscaled(scaler: GradScaler, optimizer: Optimizer) -> bool:
    """Whether the optimizer's gradients have been unscaled since its latest step.

    Args:
        scaler: The gradient scaler.
        optimizer: The optimizer that is about to step.

    Returns:
        The scaler's own answer; where it cannot be asked, whether Lightning unscales for this optimizer.
    """
    from torch.amp.grad_scaler import OptState

    states = getattr(scaler, "_per_optimizer_states", None)
    if states is None:
        return not is_fused(optimizer)
    return id(optimizer) in states and states[id(optimizer)]["stage"] is not OptState.READY


def forget_unscaling(scaler: GradScaler, optimizer: Optimizer) -> None:
    """Tell the scaler that a step for which gradients were unscaled has not been made and will not be.

    Args:
        scaler: The gradient scaler.
        optimizer: The optimizer that has not made its step.
    """
    getattr(scaler, "_per_optimizer_states", {}).pop(id(optimizer), None)


def found_non_finite(scaler: GradScaler, optimizer: Optimizer) -> Tensor | None:
    """Whether unscaling has met a NaN or an infinity, so that the scaler will skip the step.

    Args:
        scaler: The gradient scaler.
        optimizer: An optimizer whose gradients have been unscaled.

    Returns:
        Boolean `()`, not read; `None` where nothing was unscaled, or the scaler cannot be asked.
    """
    import torch

    states: Any = getattr(scaler, "_per_optimizer_states", {})
    found = list(states[id(optimizer)]["found_inf_per_device"].values()) if id(optimizer) in states else []
    return torch.stack([flag.to(found[0].device).squeeze() for flag in found]).sum() > 0 if found else None
