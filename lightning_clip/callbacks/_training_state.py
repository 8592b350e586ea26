"""The training state that `DivergenceRollback` keeps, judges, restores and writes into checkpoints."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch.nn import Module
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lightning_clip.callbacks._gradient_observer import observers
from lightning_clip.callbacks._trainer import stateful_parts, weight_averages
from lightning_clip.core.snapshot import Snapshot, Stateful, cloned


def training_state(trainer: Trainer, pl_module: LightningModule) -> list[Stateful]:
    """Collect everything whose state a step changes, with the strategies of all observers."""
    strategies = [strategy for observer in observers(trainer) for strategy in observer.strategies]
    return stateful_parts(trainer, pl_module, strategies)


def on_any_process(trainer: Trainer, flag: bool) -> bool:
    """Return whether the flag is set on some process; all processes must call this together."""
    return trainer.strategy.reduce_boolean_decision(flag, all=False) if trainer.world_size > 1 else flag


def weights_among(tensors: set[tuple[int, str]], parts: Sequence[Stateful]) -> bool:
    """Return whether some of the tensors are weights, not merely buffers.

    Args:
        tensors: The tensors, as `non_finite_tensors` returns them.
        parts: The objects in the snapshot.
    """
    modules = [(index, part) for index, part in enumerate(parts) if isinstance(part, Module)]
    return bool(tensors - {(index, name) for index, module in modules for name, _ in module.named_buffers()})


def write_last_good(
    trainer: Trainer,
    pl_module: LightningModule,
    checkpoint: dict[str, Any],
    *,
    good: Snapshot,
    bad: set[tuple[int, str]],
) -> None:
    """Write the last good state into a checkpoint, and warn of it; training goes on with the present weights.

    If only buffers are bad, only they are replaced, both in the checkpoint and in the module.

    Args:
        trainer: The trainer that is about to save.
        pl_module: The module being trained.
        checkpoint: The checkpoint, changed in place.
        good: The last good state.
        bad: The tensors that are NaN or infinite, as `non_finite_tensors` returns them.
    """
    parts = training_state(trainer, pl_module)
    if on_any_process(trainer, weights_among(bad, parts)):
        what, kept = "weights are", "the state"
        now = Snapshot(parts, step=trainer.global_step)
        good.restore(parts)
        _write_again(trainer, pl_module, checkpoint)
        averages = [average for _, average in weight_averages(trainer)]
        now.restore(part for part in parts if part not in averages)  # their callbacks save them before or after us
    else:
        what, kept = "buffers are", "the buffers"
        good.restore_tensors(parts, bad)
        _write_again(trainer, pl_module, checkpoint)
    rank_zero_warn(
        f"DivergenceRollback: step {trainer.global_step}: {what} NaN or infinite: "
        f"the checkpoint contains {kept} of step {good.step} instead"
    )


def _write_again(trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Collect weights and optimizer states the way the Trainer does it, so that sharded and partial ones are whole."""
    checkpoint["state_dict"] = cloned(trainer.strategy.lightning_module_state_dict())
    if "optimizer_states" in checkpoint:
        states = [trainer.strategy.optimizer_state(optimizer) for optimizer in trainer.optimizers]
        checkpoint["optimizer_states"] = cloned(states)
        checkpoint["lr_schedulers"] = cloned([config.scheduler.state_dict() for config in trainer.lr_scheduler_configs])
    if "current_model_state" in checkpoint:  # `WeightAveraging` has put its average into `state_dict` already
        for callback, _ in weight_averages(trainer):
            callback.on_save_checkpoint(trainer, pl_module, checkpoint)


def warn_of_unknown_schedulers(trainer: Trainer, call: str) -> None:
    """Warn of schedulers that do not keep their learning rates where `scale_learning_rates` finds them.

    Args:
        trainer: The trainer, at the start of training.
        call: The constructor call of the callback, quoted in the warning.
    """
    for config in trainer.lr_scheduler_configs:
        scheduler: Any = config.scheduler
        if not isinstance(scheduler, LRScheduler | ReduceLROnPlateau):
            rank_zero_warn(
                f"{call}: {type(scheduler).__name__} is not a scheduler of torch, so it may overwrite the reduced "
                "learning rate. Derive it from torch.optim.lr_scheduler.LRScheduler."
            )
