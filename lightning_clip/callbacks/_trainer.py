"""What callbacks ask of the Trainer: whether clipping can be right there, what is being run, and its state."""

from collections.abc import Iterable

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy
from torch.optim import Optimizer

from lightning_clip._compat import grad_scaler
from lightning_clip.core.names import plain_name
from lightning_clip.core.record.run_info import RunInfo
from lightning_clip.core.snapshot import Stateful


def check_strategy_support(callback: Callback, trainer: Trainer) -> None:
    """Raise where the gradients of a parallel strategy cannot be seen whole.

    Args:
        callback: Who asks.
        trainer: The trainer that is about to fit.

    Raises:
        MisconfigurationException: The trainer uses DeepSpeed or FSDP1.
    """
    name = type(callback).__name__
    if isinstance(trainer.strategy, DeepSpeedStrategy):
        raise MisconfigurationException(
            f"{name} cannot work with DeepSpeedStrategy: its engine owns the gradients and clips them by itself. "
            f"Set `gradient_clipping` in the DeepSpeed configuration and remove {name}, or use ModelParallelStrategy."
        )
    if isinstance(trainer.strategy, FSDPStrategy):
        raise MisconfigurationException(
            f"{name} cannot work with FSDPStrategy (FSDP1): each rank sees slices of flattened parameters. "
            "Use ModelParallelStrategy (FSDP2), which keeps parameters apart."
        )


def check_trainer_does_not_clip(trainer: Trainer, call: str) -> None:
    """Raise where the trainer clips too: the second limit would act on what the first has left.

    Args:
        trainer: The trainer that is about to fit.
        call: The callback as the user wrote it.

    Raises:
        MisconfigurationException: `Trainer(gradient_clip_val=…)` is set.
    """
    if trainer.gradient_clip_val:
        algorithm = trainer.gradient_clip_algorithm or "norm"
        ours = "ValueClip" if algorithm == "value" else "NormClip"
        raise MisconfigurationException(
            f"You have set `Trainer(gradient_clip_val={trainer.gradient_clip_val!r})` and are using `{call}`. "
            "Remove `gradient_clip_val` from the Trainer: "
            f"GradientClipping({ours}({trainer.gradient_clip_val!r})) gives the same weights, bit for bit."
        )


def describe_run(trainer: Trainer, pl_module: LightningModule, *, strategy: str) -> RunInfo:
    """What is being run, for the head of a report.

    Args:
        trainer: A trainer whose optimizers have been set up.
        pl_module: The module that is trained.
        strategy: The clipping strategy as it prints itself.

    Returns:
        Model, strategy, optimizers and the number of elements of each parameter.
    """
    model = getattr(pl_module, "_orig_mod", pl_module)
    numels = {plain_name(name): param.numel() for name, param in pl_module.named_parameters()}
    optimizers = ", ".join(_describe(optimizer) for optimizer in trainer.optimizers)
    return RunInfo(model=type(model).__name__, strategy=strategy, optimizer=optimizers, numels=numels)


def _describe(optimizer: Optimizer) -> str:
    group = optimizer.param_groups[0]
    shown = [f"{key}={group[key]:g}" for key in ("lr", "momentum") if isinstance(group.get(key), float) and group[key]]
    return f"{type(optimizer).__name__}({', '.join(shown)})"


def stateful_parts(trainer: Trainer, pl_module: LightningModule, strategies: Iterable[Stateful]) -> list[Stateful]:
    """Everything that a step changes: the module first, then the optimizers, then the rest.

    Args:
        trainer: A trainer that is fitting.
        pl_module: The module that is trained.
        strategies: The clipping strategies in use.

    Returns:
        The module, optimizers, schedulers, the gradient scaler if there is one, and the clipping strategies.
    """
    schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
    scaler = grad_scaler(trainer)
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
