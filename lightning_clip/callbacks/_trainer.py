"""What the callbacks need from the Trainer: checks of its configuration, a description of the run, its state."""

from collections.abc import Iterable

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from lightning_clip._compat import grad_scaler
from lightning_clip.core.names import plain_name
from lightning_clip.core.record.run_info import RunInfo
from lightning_clip.core.snapshot import Stateful


def check_strategy_support(callback: Callback, trainer: Trainer) -> None:
    """Raise if the trainer's parallel strategy hides the full gradients.

    Args:
        callback: The callback that needs the gradients, quoted in the error message.
        trainer: The trainer that is about to fit.

    Raises:
        MisconfigurationException: The trainer uses DeepSpeed or FSDP1.
    """
    name = type(callback).__name__
    if isinstance(trainer.strategy, DeepSpeedStrategy):
        raise MisconfigurationException(
            f"{name} cannot work with DeepSpeedStrategy: its engine owns the gradients and clips them itself. "
            f"Set `gradient_clipping` in the DeepSpeed configuration and remove {name}, or use ModelParallelStrategy."
        )
    if isinstance(trainer.strategy, FSDPStrategy):
        raise MisconfigurationException(
            f"{name} cannot work with FSDPStrategy (FSDP1): each rank sees slices of flattened parameters. "
            "Use ModelParallelStrategy (FSDP2), which keeps parameters separate."
        )


def check_trainer_does_not_clip(trainer: Trainer, call: str) -> None:
    """Raise if the trainer clips too: its limit would act on gradients that the callback has already clipped.

    Args:
        trainer: The trainer that is about to fit.
        call: The constructor call of the callback, quoted in the error message.

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
    """Describe the run for the header of a report.

    Args:
        trainer: The trainer, after its optimizers have been set up.
        pl_module: The module being trained.
        strategy: The `repr` of the clipping strategy.

    Returns:
        The model, strategy, optimizers and number of elements of each parameter. Parameters of lazy layers that have
        seen no batch have no size yet and are left out, as is the stand-in for no optimizer, which has no parameters.
    """
    model = getattr(pl_module, "_orig_mod", pl_module)
    sized = ((name, param) for name, param in pl_module.named_parameters() if not is_lazy(param))
    numels = {plain_name(name): param.numel() for name, param in sized}
    optimizers = ", ".join(_describe(optimizer) for optimizer in trainer.optimizers if optimizer.param_groups)
    return RunInfo(model=type(model).__name__, strategy=strategy, optimizer=optimizers, numels=numels)


def _describe(optimizer: Optimizer) -> str:
    group = optimizer.param_groups[0]
    shown = [f"{key}={group[key]:g}" for key in ("lr", "momentum") if isinstance(group.get(key), float) and group[key]]
    return f"{type(optimizer).__name__}({', '.join(shown)})"


def stateful_parts(trainer: Trainer, pl_module: LightningModule, strategies: Iterable[Stateful]) -> list[Stateful]:
    """Collect everything whose state a step changes.

    Args:
        trainer: The trainer, while it is fitting.
        pl_module: The module being trained.
        strategies: The clipping strategies in use.

    Returns:
        The module, the optimizers, the schedulers, the gradient scaler if there is one, and the clipping strategies.
    """
    schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
    scaler = grad_scaler(trainer)
    return [pl_module, *trainer.optimizers, *schedulers, *([scaler] if scaler is not None else []), *strategies]


def scale_learning_rates(trainer: Trainer, factor: float) -> None:
    """Multiply all learning rates by a factor, including the base rates of schedulers.

    Args:
        trainer: The trainer, while it is fitting.
        factor: The factor.
    """
    for optimizer in trainer.optimizers:
        for group in optimizer.param_groups:
            group.update({key: group[key] * factor for key in ("lr", "initial_lr") if key in group})
    for config in trainer.lr_scheduler_configs:
        base_lrs = getattr(config.scheduler, "base_lrs", None)
        if base_lrs is not None:
            config.scheduler.base_lrs = [lr * factor for lr in base_lrs]
