"""What the callbacks need from the Trainer: checks of its configuration, a description of the run, its state."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn import Module
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from lightning_clip._compat import grad_scaler, is_kind, overrides
from lightning_clip.core.names import plain_name
from lightning_clip.core.record.pending_step import Place
from lightning_clip.core.record.run_info import RunInfo
from lightning_clip.core.snapshot import Stateful
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.strategies.no_clip import NoClip


def check_strategy_support(callback: Callback, trainer: Trainer) -> None:
    """Raise if the trainer's parallel strategy hides the full gradients.

    Args:
        callback: The callback that needs the gradients, quoted in the error message.
        trainer: The trainer that is about to fit.

    Raises:
        MisconfigurationException: The trainer uses DeepSpeed or FSDP1.
    """
    name = type(callback).__name__
    if is_kind(trainer.strategy, "DeepSpeedStrategy"):
        raise MisconfigurationException(
            f"{name} cannot work with DeepSpeedStrategy: its engine owns the gradients and clips them itself. "
            f"Set `gradient_clipping` in the DeepSpeed configuration and remove {name}, or use ModelParallelStrategy."
        )
    if is_kind(trainer.strategy, "FSDPStrategy"):
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


@dataclass(frozen=True, slots=True)
class OtherClipping:
    """Clipping that acts after this package's callbacks.

    Attributes:
        call: What clips, for people to read.
        threshold: The limit; `None` if it is unknown.
    """

    call: str
    threshold: float | None = None


def clipping_by_module(pl_module: LightningModule) -> OtherClipping | None:
    """Return the module's own `configure_gradient_clipping`; `None` if it has none, or if Lightning does not call it.

    Args:
        pl_module: The module being trained.
    """
    if not pl_module.automatic_optimization or not overrides(pl_module, "configure_gradient_clipping"):
        return None
    return OtherClipping(f"{type(pl_module).__name__}.configure_gradient_clipping()")


def clipping_by_trainer(trainer: Trainer) -> OtherClipping | None:
    """Return the Trainer's own clipping; `None` if it does not clip, as always in manual optimization.

    Args:
        trainer: The trainer, while it is fitting.
    """
    limit = trainer.gradient_clip_val
    if not limit:
        return None
    by_value = ", gradient_clip_algorithm='value'" if trainer.gradient_clip_algorithm == "value" else ""
    return OtherClipping(f"Trainer(gradient_clip_val={limit!r}{by_value})", float(limit))


def describe_run(trainer: Trainer, pl_module: LightningModule, *, strategies: Sequence[ClipStrategy]) -> RunInfo:
    """Describe the run for the header of a report.

    Args:
        trainer: The trainer, after its optimizers have been set up.
        pl_module: The module being trained.
        strategies: The clipping strategies of the callback; usually they are all the same.

    Returns:
        The model, who clips, the optimizers, what they train and what not, and the number of elements of each
        parameter. Parameters of lazy layers that have seen no batch have no size yet and are left out, as is the
        stand-in for no optimizer, which has no parameters.
    """
    model = getattr(pl_module, "_orig_mod", pl_module)
    sized = ((name, param) for name, param in pl_module.named_parameters() if not is_lazy(param))
    numels = {plain_name(name): param.numel() for name, param in sized}
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    trained = {id(param) for group in groups for param in group["params"] if param.requires_grad}
    optimizers = ", ".join(_describe(optimizer) for optimizer in trainer.optimizers if optimizer.param_groups)
    others = clipping_by_module(pl_module) or clipping_by_trainer(trainer)
    is_own = others is None or not isinstance(strategies[0], NoClip)
    other = [others.call] if others is not None else []
    calls, briefs = [
        list(dict.fromkeys(names)) for names in zip(*((repr(s), s.brief) for s in strategies), strict=True)
    ]
    return RunInfo(
        model=type(model).__name__,
        strategy=", then ".join([" and ".join(calls)] * is_own + other),
        optimizer=optimizers,
        numels=numels,
        brief_strategy=", then ".join([" and ".join(briefs)] * is_own + other),
        trains=[_trained_part(optimizer, pl_module) for optimizer in trainer.optimizers if optimizer.param_groups],
        frozen=[plain_name(name) for name, param in pl_module.named_parameters() if id(param) not in trained],
    )


def _trained_part(optimizer: Optimizer, pl_module: LightningModule) -> str:
    """What the names of an optimizer's parameters begin with; up to two names, and none for the whole network."""
    names = {id(param): plain_name(name) for name, param in pl_module.named_parameters()}
    own = [names[id(param)] for group in optimizer.param_groups for param in group["params"] if id(param) in names]
    parts = [name.split(".")[:-1] or [name] for name in own]
    if not own or len(own) == len(names):
        return ""
    shared = 0
    while min(map(len, parts)) > shared and len({part[shared] for part in parts}) == 1:
        shared += 1
    if shared:
        return ".".join(parts[0][:shared])
    heads = list(dict.fromkeys(part[0] for part in parts))
    return " and ".join(heads) if len(heads) <= 2 else ""


def _describe(optimizer: Optimizer) -> str:
    group = optimizer.param_groups[0]
    shown = [f"{key}={group[key]:g}" for key in ("lr", "momentum") if isinstance(group.get(key), float) and group[key]]
    return f"{type(optimizer).__name__}({', '.join(shown)})"


def place_of(trainer: Trainer) -> Place:
    """Return the epoch and the batches of the step that is about to be made, without reading the device.

    Args:
        trainer: The trainer, while it is fitting. It steps after every `accumulate_grad_batches` batches and at the end
            of the epoch; in manual optimization, which batches are accumulated is not known.
    """
    batch = trainer.fit_loop.epoch_loop.batch_idx
    return Place(trainer.current_epoch, batch - batch % trainer.accumulate_grad_batches, batch)


def stateful_parts(trainer: Trainer, pl_module: LightningModule, strategies: Iterable[Stateful]) -> list[Stateful]:
    """Collect everything whose state a step changes.

    Args:
        trainer: The trainer, while it is fitting.
        pl_module: The module being trained.
        strategies: The clipping strategies in use.

    Returns:
        The module, the averages of its weights that other callbacks keep, the optimizers, the schedulers, the gradient
        scaler if there is one, and the clipping strategies.
    """
    schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
    scaler = grad_scaler(trainer)
    averages = [average for _, average in weight_averages(trainer)]
    scalers = [scaler] if scaler is not None else []
    optimizers = [one for one in trainer.optimizers if one.param_groups]  # without Lightning's stand-in for none
    return [pl_module, *averages, *optimizers, *schedulers, *scalers, *strategies]


def weight_averages(trainer: Trainer) -> list[tuple[Callback, Module]]:
    """Return the callbacks that keep an average of the weights, with that average."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # set while the Trainer is built
    pairs = [(callback, getattr(callback, "_average_model", None)) for callback in callbacks]
    return [(callback, average) for callback, average in pairs if isinstance(average, Module)]


def reset_carried_state(pl_module: LightningModule, *, non_finite_only: bool) -> None:
    """Reset the recurrent state that modules carry from batch to batch; reads the device if there is any.

    Args:
        pl_module: The module being trained.
        non_finite_only: Whether to keep the state of rows in which it is finite.
    """
    for module in pl_module.modules():
        reset = getattr(module, "reset_carried_state", None)
        if callable(reset):
            reset(non_finite_only=non_finite_only)


def scale_learning_rates(trainer: Trainer, factor: float) -> None:
    """Multiply all learning rates by a factor, including those that schedulers will compute.

    Args:
        trainer: The trainer, while it is fitting.
        factor: The factor.
    """
    for optimizer in trainer.optimizers:
        for group in optimizer.param_groups:
            group.update({key: group[key] * factor for key in _GROUP_RATES if group.get(key) is not None})
    for config in trainer.lr_scheduler_configs:
        _scale_scheduler(config.scheduler, factor)


# Where torch's optimizers and schedulers keep learning rates.
_GROUP_RATES = ("lr", "initial_lr", "max_lr", "min_lr", "swa_lr")
_SCHEDULER_RATES = ("base_lrs", "max_lrs", "min_lrs", "_last_lr")


def _scale_scheduler(scheduler: Any, factor: float) -> None:
    for name in _SCHEDULER_RATES:
        rates = getattr(scheduler, name, None)
        if rates is not None:
            setattr(scheduler, name, [rate * factor for rate in rates])
    if hasattr(scheduler, "eta_min"):
        scheduler.eta_min *= factor
    for inner in getattr(scheduler, "_schedulers", ()):
        _scale_scheduler(inner, factor)
