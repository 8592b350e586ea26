"""`take_again`: repeats a captured step in a Trainer, up to the moment before the optimizer steps."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor
from typing_extensions import override

from lightning_clip._compat import grad_scaler
from lightning_clip._errors import InputError, reason_of
from lightning_clip.callbacks.step.action_point import StepCallback
from lightning_clip.callbacks.step.context import StepContext
from lightning_clip.replays.capture import Capture


class StepTakenError(Exception):
    """Raised to leave a training step once its gradients are known."""


class Rerun(StepCallback):
    """Restores the state before the step, and calls back when its gradients are known.

    Args:
        capture: The captured step.
        at_step: What to call with the trainer and the context of the step, before the optimizer steps.

    Attributes:
        losses: What was passed to each backward pass.
        gradients_before: The gradients of the steps that come before this one within the batch.
        ordinal: How many steps have been made since the first batch.
    """

    def __init__(self, capture: Capture, at_step: Callable[["Rerun", Trainer, StepContext], None]) -> None:
        super().__init__()
        self.capture = capture
        self.at_step = at_step
        self.losses: list[float] = []
        self.gradients_before: list[list[Tensor | None]] = []
        self.ordinal = 0
        self._has_begun_batch = False

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        step = self.capture.step if self.capture.chunks else self.capture.step_before
        _set_progress(trainer, epoch=self.capture.epoch, step=step)

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not self._has_begun_batch:
            self._has_begun_batch = True
            self.restore(trainer, pl_module)
            states = self.capture.optimizers
            for optimizer, state in zip(trainer.optimizers, states, strict=len(states) > 0):
                optimizer.load_state_dict(state)

    @torch.no_grad()
    def restore(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore weights, buffers, random numbers and carried state."""
        self.ordinal = 0
        for name, param in pl_module.named_parameters():
            param.copy_(self.capture.weights[name])
        for name, buffer in pl_module.named_buffers():
            if name in self.capture.buffers:
                buffer.copy_(self.capture.buffers[name])
        carried = getattr(pl_module, "_carried", None)
        if carried and self.capture.carried is not None:
            carried[True].load_state_dict(self.capture.carried)
        torch.set_rng_state(self.capture.rng["cpu"])

    @override
    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        scaler = grad_scaler(trainer)
        self.losses.append(float(loss.detach()) / (scaler.get_scale() if scaler else 1.0))

    @override
    def look(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        before = 0 if self.capture.chunks else self.capture.steps_before
        if self.ordinal < before:
            params = [param for group in context.optimizer.param_groups for param in group["params"]]
            if len(self.gradients_before) <= self.ordinal:
                self.gradients_before.append([None if p.grad is None else p.grad.clone() for p in params])
            for param, grad in zip(params, self.gradients_before[self.ordinal], strict=True):
                param.grad = None if grad is None else grad.clone()
            self.ordinal += 1
            return
        self.at_step(self, trainer, context)
        raise StepTakenError

    @override
    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pass

    @override
    def _save(self) -> dict[str, Any]:
        return {}

    @override
    def _load(self, state: dict[str, Any]) -> None:
        pass


class _Batches:
    """The captured batches, which begin at the index that they had in their epoch."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.trainer: Trainer | None = None

    def __len__(self) -> int:
        return self.capture.first_batch + len(self.capture.batches)

    def __iter__(self) -> Iterator[Any]:
        assert self.trainer is not None
        _set_batch(self.trainer, self.capture.first_batch)
        yield from self.capture.batches


def take_again(capture: Capture, module: LightningModule, rerun: Rerun) -> None:
    """Repeat a captured step on the CPU, up to the moment before the optimizer steps.

    Args:
        capture: The captured step.
        module: A module of the same kind. Its weights and buffers are replaced.
        rerun: What to do at the step.

    Raises:
        InputError: The module does not fit the capture, or its step could not be made.
    """
    _check_fit(capture, module)
    for hook in ("on_before_batch_transfer", "on_after_batch_transfer"):  # these batches have been through both
        setattr(module, hook, lambda batch, dataloader_idx: batch)
    if capture.chunks is not None:
        module.training_step = chunk_step(module, capture.chunks, capture.states or {})  # type: ignore[method-assign]
    batches = _Batches(capture)
    with _quietly(), torch.random.fork_rng(devices=()):
        batches.trainer = trainer = _trainer(capture, module, rerun)
        try:
            trainer.fit(module, batches)
        except StepTakenError:
            return
        except (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise InputError(f"{capture.path}: {type(module).__name__} cannot repeat it: {reason_of(error)}") from error
    raise InputError(f"{capture.path}: {type(module).__name__} made no step with these batches")


def chunk_step(module: Any, chunks: list[int], states: dict[int, Any]) -> Callable[[Any, int], None]:
    """Return a training step that runs only some chunks of a batch, from the recurrent states before them.

    Args:
        module: The module, a `TruncatedBPTTMixin`.
        chunks: The first and the last chunk.
        states: The states, by the chunk that begins with them.
    """

    def training_step(batch: Any, batch_idx: int) -> None:
        optimizer, plan = module._optimizer(), module._plan(batch)
        optimizer.zero_grad()
        shares, own = plan.shares / module.accumulate_chunks, dict(states)
        module._states = own
        for number in range(chunks[0], chunks[1] + 1):
            loss = module._window(plan.chunks, own, number)
            if plan.has_loss[number]:
                with optimizer.toggle_model(sync_grad=number == chunks[1]):
                    module.manual_backward(loss * shares[number])
        module._step(optimizer)

    return training_step


def _check_fit(capture: Capture, module: LightningModule) -> None:
    shapes = {name: tuple(param.shape) for name, param in module.named_parameters()}
    saved = {name: tuple(tensor.shape) for name, tensor in capture.weights.items()}
    if shapes == saved:
        return
    wrong = sorted({name for name in shapes.keys() | saved.keys() if shapes.get(name) != saved.get(name)})
    first = f"{wrong[0]} is {saved.get(wrong[0], 'missing')} in the file and {shapes.get(wrong[0], 'missing')} here"
    raise InputError(
        f"{capture.path}: a step of {capture.model}, which {type(module).__name__} does not fit: {first}; "
        "build the module with the options it was trained with"
    )


def _trainer(capture: Capture, module: LightningModule, rerun: Rerun) -> Trainer:
    options: dict[str, Any] = {"precision": capture.precision}
    if capture.scale is not None:
        scaler = torch.amp.GradScaler("cpu", init_scale=capture.scale)
        options = {"plugins": [MixedPrecision("16-mixed", "cpu", scaler=scaler)]}
    if module.automatic_optimization:
        options["accumulate_grad_batches"] = capture.accumulate
    return Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=-1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        callbacks=[rerun],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def _set_progress(trainer: Trainer, *, epoch: int, step: int) -> None:
    """Make a trainer believe that it has completed so many epochs and optimizer steps."""
    loop = trainer.fit_loop
    progress: Any = loop.epoch_progress.current
    progress.processed = progress.completed = epoch
    loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total.completed = step
    loop.epoch_loop.manual_optimization.optim_step_progress.total.completed = step


def _set_batch(trainer: Trainer, batch: int) -> None:
    """Make a trainer believe that the next batch has this index in its epoch."""
    trainer.fit_loop.epoch_loop.batch_progress.current.ready = batch


@contextmanager
def _quietly() -> Iterator[None]:
    """Without Lightning's notes on devices and workers, which are not about the step."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
