"""`Window`: what a step depends on and the forward pass changes, kept from before its first batch."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.nn.parameter import is_lazy

from lightning_clip.callbacks.capture.plain import plain
from lightning_clip.core.snapshot import cloned


class Window:
    """The batches since the last optimizer step, and the state before the first of them.

    Weights are the same at the step as before the batch, so they are not copied, except where a batch makes several
    steps. Buffers are copied into storage that is allocated once; without buffers, nothing is. Batches, losses and the
    recurrent states of truncated BPTT are kept by reference.

    Args:
        trainer: The trainer, while it is fitting.
        pl_module: The module being trained.

    Attributes:
        batches: The batches, on their device.
        samples: The dataset indices of each batch's samples; `None` where they cannot be told.
        first_batch: The index in its epoch of the first batch.
        step: The number of optimizer steps completed before the first batch.
        steps: The number of optimizer steps made since.
        losses: What was passed to each backward pass, each `()`.
        own_losses: How many of them came after the last step.
    """

    def __init__(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._module = pl_module
        self._is_chunked = _is_chunked(pl_module)
        self._carries = getattr(pl_module, "_carried", None)
        self._buffers = {name: buffer for name, buffer in pl_module.named_buffers() if not is_lazy(buffer)}
        self._kept = [buffer.detach().clone() for buffer in self._buffers.values()]
        self._weights: dict[str, Tensor] | None = None
        self._optimizers: list[Any] | None = None
        self._carried: Any = None
        self._states: dict[int, Any] = {0: None}
        self._generators: dict[str, torch.Generator] = {}
        self._makes_several_steps = not pl_module.automatic_optimization and len(trainer.optimizers) > 1
        self._open(trainer, 0)

    def _open(self, trainer: Trainer, batch_idx: int) -> None:
        self.batches: list[Any] = []
        self.samples: list[list[int] | None] = []
        self.first_batch, self.step, self.steps = batch_idx, trainer.global_step, 0
        self.losses: list[Tensor] = []
        self.own_losses = 0

    def begin_batch(self, trainer: Trainer, batch: Any, batch_idx: int, samples: list[int] | None) -> None:
        """Note a batch before its forward pass; after a step it begins the next window.

        Args:
            trainer: The trainer, at the start of the batch.
            batch: The batch.
            batch_idx: Its index in the epoch.
            samples: The dataset indices of its samples.
        """
        if self.steps or not self.batches or batch_idx <= self.first_batch:
            self._makes_several_steps |= self.steps > 1 and not self._is_chunked
            self._open(trainer, batch_idx)
            self._keep()
        self.batches.append(batch)
        self.samples.append(samples)

    def _keep_changing(self) -> None:
        if self._kept:
            torch._foreach_copy_(self._kept, [buffer.detach() for buffer in self._buffers.values()])
        self._generators = {name: one.clone_state() for name, one in _generators(self._module.device)}

    def _keep(self) -> None:
        self._keep_changing()
        self._weights = self._optimizers = None
        self._carried = self._carries[True]._after if self._carries else None
        self._states = {0: None}

    def add_loss(self, loss: Tensor) -> None:
        """Note what is about to be passed to a backward pass."""
        self.losses.append(loss.detach())
        self.own_losses += 1

    def before_step(self, trainer: Trainer) -> None:
        """Copy what the step changes, if later steps of the same batch depend on it."""
        if self._makes_several_steps and not self.steps:
            self._weights = cloned(dict(self._module.named_parameters()))
            self._optimizers = [cloned(optimizer.state_dict()) for optimizer in trainer.optimizers]

    def after_step(self) -> None:
        """Count a step, and keep the recurrent states with which the next chunk may begin."""
        self.steps += 1
        self.own_losses = 0
        if self._is_chunked:
            self._states = dict(self._module._states)  # type: ignore[arg-type]
            self._keep_changing()
            self.losses = []

    @property
    def is_whole(self) -> bool:
        """Whether the state before the window is known: not if an earlier step of it changed weights unnoticed."""
        return not self.steps or self._weights is not None or self._is_chunked

    def state(self, trainer: Trainer) -> dict[str, Any]:
        """Return the state before the window, as tensors on the CPU and plain types.

        Args:
            trainer: The trainer, at the step.

        Raises:
            NotPlainError: Part of it is of another type.
        """
        names = [name for name, _ in self._module.named_parameters()]
        weights = self._weights or dict(self._module.named_parameters())
        optimizers = self._optimizers or [optimizer.state_dict() for optimizer in trainer.optimizers]
        state = {
            "weights": {name: weights[name] for name in names if not is_lazy(weights[name])},
            "buffers": dict(zip(self._buffers, self._kept, strict=True)),
            "optimizers": optimizers,
            "rng": {name: one.get_state() for name, one in self._generators.items()},
        }
        if self._carried is not None:
            streams, position, hiddens = self._carried
            state["carried"] = {"version": 1, "streams": list(streams), "position": position, "hiddens": hiddens}
        if self._is_chunked:
            now: dict[int, Any] = self._module._states  # type: ignore[assignment]
            state["states"], state["chunks"] = self._states, [max(self._states), max(now) - 1]
        result: dict[str, Any] = plain(state)
        return result


def _generators(device: torch.device) -> Iterator[tuple[str, torch.Generator]]:
    """Torch's random number generators: that of the CPU, and that of an accelerator in use."""
    yield "cpu", torch.default_generator
    if device.type == "cuda":
        yield "cuda", torch.cuda.default_generators[device.index or 0]


def _is_chunked(module: LightningModule) -> bool:
    """Whether a module is a `TruncatedBPTTMixin`, each of whose steps is that of a chunk."""
    window: Callable[..., Any] | None = getattr(module, "tbptt_step", None)
    return window is not None and isinstance(getattr(module, "_states", None), dict)
