"""The few private names of Lightning and torch that we touch, each with its fallback."""

from typing import Any

from lightning.pytorch import Trainer
from torch.amp.grad_scaler import OptState
from torch.optim import Optimizer


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


def grad_scaler(trainer: Trainer) -> Any:
    """The gradient scaler of fp16 mixed precision, `None` in every other precision."""
    return getattr(trainer.precision_plugin, "scaler", None)


def unscale_fused_(trainer: Trainer, optimizer: Optimizer) -> None:
    """Unscale the gradients of a fused optimizer, which Lightning leaves scaled, unless that has been done already.

    Args:
        trainer: A trainer that is fitting.
        optimizer: The optimizer that is about to step.
    """
    scaler = grad_scaler(trainer)
    if scaler is None or not getattr(optimizer, "_step_supports_amp_scaling", False):
        return
    states: Any = getattr(scaler, "_per_optimizer_states", {})
    if id(optimizer) not in states or states[id(optimizer)]["stage"] is OptState.READY:
        scaler.unscale_(optimizer)
