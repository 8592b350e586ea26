"""What a trainer holds besides the module: what to keep of it, and how to change its learning rates."""

from lightning.pytorch import LightningModule, Trainer

from lightning_clip.callbacks._gradient_observer import observers
from lightning_clip._compat import grad_scaler
from lightning_clip.core.snapshot import Stateful


def stateful_parts(trainer: Trainer, pl_module: LightningModule) -> list[Stateful]:
    """Everything that a step changes: the module first, then the optimizers, then the rest.

    Args:
        trainer: A trainer that is fitting.
        pl_module: The module that is trained.

    Returns:
        The module, optimizers, schedulers, the gradient scaler if there is one, and the clipping strategies.
    """
    schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
    scaler = grad_scaler(trainer)
    strategies = [strategy for observer in observers(trainer) for strategy in observer.strategies]
    return [pl_module, *trainer.optimizers, *schedulers, *([scaler] if scaler is not None else []), *strategies]


def scale_learning_rates(trainer: Trainer, factor: float) -> None:
    """Multiply all learning rates, those that schedulers start from included.

    Args:
        trainer: A trainer that is fitting.
        factor: What to multiply by.
    """
    for optimizer in trainer.optimizers:
        for group in optimizer.param_groups:
            group.update({key: group[key] * factor for key in ("lr", "initial_lr") if key in group})
    for config in trainer.lr_scheduler_configs:
        base_lrs = getattr(config.scheduler, "base_lrs", None)
        if base_lrs is not None:
            config.scheduler.base_lrs = [lr * factor for lr in base_lrs]
