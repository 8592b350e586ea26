"""The few private names of Lightning and torch that the package uses, each with a fallback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from torch import Tensor
    from torch.amp.grad_scaler import GradScaler
    from torch.optim import Optimizer

Function = TypeVar("Function", bound=Callable[..., Any])


def uncompiled(function: Function) -> Function:
    """Keep a function out of the graph of a compiled optimizer, so that it runs as plain Python.

    Args:
        function: A hook that an optimizer calls.

    Returns:
        The function, which `torch.compile` does not trace.
    """
    import torch

    result: Function = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
    return result


def batches_that_stepped(trainer: Trainer) -> int:
    """Return the step that Lightning passes to loggers: the number of batches that made an optimizer step, 0-based.

    Args:
        trainer: The trainer, while it is fitting.

    Returns:
        The step; `trainer.global_step` if this version of Lightning does not count such batches.
    """
    step: int = getattr(trainer.fit_loop.epoch_loop, "_batches_that_stepped", trainer.global_step)
    return step


def should_log(trainer: Trainer) -> bool:
    """Return whether Lightning writes metrics to the loggers after this batch.

    Args:
        trainer: The trainer, while it is fitting.

    Returns:
        Lightning's own answer if this version exposes it; otherwise the result of the same rule (`log_every_n_steps`).
    """
    connector = getattr(trainer, "_logger_connector", None)
    answer = getattr(connector, "should_update_logs", None)
    if answer is not None:
        return bool(answer)
    every: int = getattr(trainer, "log_every_n_steps", 0)
    return every > 0 and (batches_that_stepped(trainer) + 1) % every == 0


def is_kind(one: Any, *names: str) -> bool:
    """Return whether an object is of one of Lightning's classes, in whichever of its packages.

    `lightning.pytorch` and `pytorch_lightning` are the same code under two names, so their classes are not the same
    objects, and `isinstance` with one of them says nothing about the other.

    Args:
        one: A strategy, a progress bar, a callback.
        *names: The names of the classes; subclasses count.

    Example:
        >>> from lightning.pytorch.callbacks import RichProgressBar
        >>> is_kind(RichProgressBar(), "RichProgressBar"), is_kind(RichProgressBar(), "TQDMProgressBar")
        (True, False)
    """
    return not _kinds(type(one)).isdisjoint(names)  # type: ignore[arg-type]  # every class is hashable


@lru_cache(maxsize=256)
def _kinds(cls: type) -> frozenset[str]:
    """The names of a class and its bases in Lightning; kept, because it is asked for each callback after each batch."""
    ours = ("lightning", "lightning_fabric", "pytorch_lightning")
    return frozenset(kind.__name__ for kind in cls.__mro__ if kind.__module__.partition(".")[0] in ours)


def overrides(pl_module: Any, method: str) -> bool:
    """Return whether a module overrides a method of `LightningModule`, in whichever of Lightning's packages.

    Args:
        pl_module: The module.
        method: The name of the method.
    """
    from lightning.pytorch.utilities.model_helpers import is_overridden

    model = getattr(pl_module, "_orig_mod", pl_module)
    base = next(kind for kind in type(model).__mro__ if kind.__name__ == "LightningModule")
    return is_overridden(method, pl_module, base)


def looks_after_batch(callback: Any, trainer: Trainer) -> bool:
    """Return whether a callback is a `ModelCheckpoint` that may save, and look at its metric, after this batch.

    Args:
        callback: Any callback.
        trainer: The trainer, at the end of a batch.
    """
    if not is_kind(callback, "ModelCheckpoint"):
        return False
    every: int = getattr(callback, "_every_n_train_steps", 1)
    if every >= 1:
        return trainer.global_step % every == 0
    return getattr(callback, "_train_time_interval", None) is not None


CLIPPING_METHOD = "_clip_gradients"
"""The method of a precision plugin that Lightning calls to clip."""


def clipping_of(trainer: Trainer) -> Callable[..., None] | None:
    """Return what Lightning calls to clip, in both optimization modes, after every `on_before_optimizer_step`.

    Args:
        trainer: The trainer that is about to fit.

    Returns:
        The method of the precision plugin, or what stands in for it; `None` if this version of Lightning has none.
    """
    clip: Callable[..., None] | None = getattr(trainer.precision_plugin, CLIPPING_METHOD, None)
    return clip


def replace_clipping(trainer: Trainer, clip: Callable[..., None]) -> None:
    """Make Lightning call something else where it clips.

    Args:
        trainer: The trainer that is about to fit.
        clip: What to call, with the arguments of `clipping_of(trainer)`. The plugin's own method undoes the change.
    """
    plugin = trainer.precision_plugin
    vars(plugin).pop(CLIPPING_METHOD, None)
    if clipping_of(trainer) != clip:
        setattr(plugin, CLIPPING_METHOD, clip)


def grad_scaler(trainer: Trainer) -> GradScaler | None:
    """Return the gradient scaler of fp16 mixed precision; `None` in every other precision."""
    scaler: GradScaler | None = getattr(trainer.precision_plugin, "scaler", None)
    return scaler if scaler is not None and scaler.is_enabled() else None


def is_fused(optimizer: Optimizer) -> bool:
    """Return whether the optimizer unscales gradients in its own step, in which case Lightning leaves them scaled."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))


def is_unscaled(scaler: GradScaler, optimizer: Optimizer) -> bool:
    """Return whether the optimizer's gradients have been unscaled since its latest step.

    Args:
        scaler: The gradient scaler.
        optimizer: The optimizer that is about to step.

    Returns:
        The scaler's own answer if it exposes one; otherwise whether Lightning unscales for this optimizer.
    """
    from torch.amp.grad_scaler import OptState

    states = getattr(scaler, "_per_optimizer_states", None)
    if states is None:
        return not is_fused(optimizer)
    return id(optimizer) in states and states[id(optimizer)]["stage"] is not OptState.READY


def forget_unscaling(scaler: GradScaler, optimizer: Optimizer) -> None:
    """Reset the scaler's record of an optimizer whose gradients were unscaled for a step that never happened.

    Args:
        scaler: The gradient scaler.
        optimizer: The optimizer that did not step.
    """
    getattr(scaler, "_per_optimizer_states", {}).pop(id(optimizer), None)


def found_non_finite(scaler: GradScaler, optimizer: Optimizer) -> Tensor | None:
    """Return whether unscaling found NaN or infinity, in which case the scaler will skip the step.

    Args:
        scaler: The gradient scaler.
        optimizer: The optimizer whose gradients have been unscaled.

    Returns:
        Boolean `()`, still on the device; `None` if nothing was unscaled or the scaler does not expose it.
    """
    import torch

    states: Any = getattr(scaler, "_per_optimizer_states", {})
    found = list(states[id(optimizer)]["found_inf_per_device"].values()) if id(optimizer) in states else []
    return torch.stack([flag.to(found[0].device).squeeze() for flag in found]).sum() > 0 if found else None


def data_source(trainer: Trainer) -> Any:
    """Return what the training data come from: loaders, a data module or the module.

    Args:
        trainer: The trainer that is about to fit.

    Returns:
        The object that was passed to `fit`; `None` if this version of Lightning does not expose it.
    """
    return getattr(getattr(trainer.fit_loop, "_data_source", None), "instance", None)


@contextmanager
def with_trial_loop(trainer: Trainer) -> Iterator[None]:
    """Train in another loop for a while, which starts where the trainer's own loop stands and has no end.

    Args:
        trainer: The trainer that is about to fit. Afterwards its own loop, and what it knows of metrics, are as before.
    """
    own: Any = trainer.fit_loop
    metrics: Any = trainer._logger_connector
    loop: Any = type(own)(trainer, min_epochs=None, max_epochs=-1)
    loop.load_state_dict(deepcopy(own.state_dict()))
    _begin_anew(loop)
    loop._data_source = own._data_source
    trainer.fit_loop = loop
    trainer._logger_connector = type(metrics)(trainer)
    try:
        yield
    finally:
        loop.teardown()
        trainer.fit_loop, trainer._logger_connector = own, metrics


def _begin_anew(loop: Any) -> None:
    """Make a loop and the loops in it forget that their progress was loaded, so that they do not resume."""
    loop.restarting = False
    loop.on_iteration_done()
    for inner in vars(loop).values():
        if hasattr(inner, "on_iteration_done"):
            _begin_anew(inner)
