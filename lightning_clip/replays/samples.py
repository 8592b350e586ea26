"""The gradient of each sample of a step: all at once by `torch.func` where the module allows it, else one by one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from lightning_clip._compat import forget_unscaling, grad_scaler
from lightning_clip.callbacks.step.context import StepContext
from lightning_clip.core.names import plain_name
from lightning_clip.functional.norms import combine_norms, tensor_norms
from lightning_clip.replays.capture import Capture
from lightning_clip.replays.rerun import Rerun, StepTakenError, chunk_step
from lightning_clip.replays.split import batch_size, row_of, sample_of

_MOST_ELEMENTS = 100_000_000
"""The number of gradient elements of all samples up to which they are computed at once."""


@dataclass(frozen=True, slots=True)
class SampleNorm:
    """The gradient norm of one sample alone.

    Attributes:
        batch: The position of its batch in the step, from 0; more than 0 only with accumulation.
        position: Its position in the batch, from 0.
        index: Its index in the dataset; `None` if it could not be told.
        norm: The total norm of the gradient of its own loss.
    """

    batch: int
    position: int
    index: int | None
    norm: float


class SamplePass:
    """Takes the step again with one sample at a time.

    Args:
        capture: The captured step.
        trainer: The trainer that repeats it.
        rerun: Its callback.
        context: The context of the step.
    """

    def __init__(self, capture: Capture, trainer: Trainer, rerun: Rerun, context: StepContext) -> None:
        self.capture = capture
        self.trainer = trainer
        self.rerun = rerun
        self.context = context
        self.module: LightningModule = trainer.lightning_module
        self.params = context.original.params

    def norms(self) -> tuple[list[SampleNorm], str]:
        """Return the norm of each sample's gradient, and how they were computed, for people to read."""
        found, how = [], "one at a time"
        for number, batch in enumerate(self.capture.batches):
            size = batch_size(batch)
            if size is None:
                return [], "the batch has no tensor whose first dimension counts samples"
            norms = self._at_once(batch, number, size)
            if norms is None:
                norms = [float(combine_norms(tensor_norms(self.one(number, at)))) for at in range(size)]
            else:
                how = "all at once, with torch.func"
            known = self.capture.samples[number]
            indices = known if known is not None and len(known) == size else [None] * size
            found += [SampleNorm(number, at, indices[at], norms[at]) for at in range(size)]
        return found, how

    def one(self, number: int, position: int) -> list[Tensor]:
        """Return the gradients of one sample's loss, in the order of the parameters.

        Args:
            number: The position of its batch in the step.
            position: Its position in the batch.
        """
        batch = self.capture.batches[number]
        size = batch_size(batch) or 1
        sample = sample_of(batch, position, size)
        self.rerun.restore(self.trainer, self.module)
        self._choose_row(batch, position)
        for param in self.module.parameters():
            param.grad = None
        index = self.capture.first_batch + number
        if self.module.automatic_optimization:
            with torch.enable_grad():
                _loss_of(self.trainer.strategy.training_step(sample, index)).backward()  # type: ignore[no-untyped-call]
        else:
            self._take_manual_step(sample, index, position, size)
        return [torch.zeros_like(p) if p.grad is None else p.grad.detach().clone() for p in self.params]

    def _choose_row(self, batch: Any, position: int) -> None:
        carried, saved = getattr(self.module, "_carried", None), self.capture.carried
        if carried and saved is not None:
            dim = getattr(self.module, "hiddens_batch_dim", 1)
            streams = getattr(batch, "streams", None)
            own = self.module.global_rank << 32 if streams is None else streams[position]
            row = saved["streams"].index(own) if own in saved["streams"] and streams is not None else position
            hiddens = row_of(saved["hiddens"], row, len(saved["streams"]), dim)
            carried[True].load_state_dict({**saved, "streams": [own], "hiddens": hiddens})

    def _take_manual_step(self, sample: Any, index: int, position: int, size: int) -> None:
        step: Callable[..., Any] = self.module.training_step
        if self.capture.chunks is not None:
            states = {key: row_of(one, position, size) for key, one in (self.capture.states or {}).items()}
            step = chunk_step(self.module, self.capture.chunks, states)
        scaler = grad_scaler(self.trainer)
        if scaler is not None:
            forget_unscaling(scaler, self.context.optimizer)
        at_step, self.rerun.at_step = self.rerun.at_step, _unscaled
        try:
            with torch.enable_grad():
                step(sample, index)
        except StepTakenError:
            pass
        finally:
            self.rerun.at_step = at_step
            for optimizer, state in zip(self.trainer.optimizers, self.capture.optimizers, strict=True):
                if self.capture.steps_before:
                    optimizer.load_state_dict(state)

    def _at_once(self, batch: Any, number: int, size: int) -> list[float] | None:
        """Return the norms by `torch.func`; `None` where that does not work."""
        kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
        module, numel = self.module, sum(param.numel() for param in self.params)
        is_random = any(isinstance(one, kinds) for one in module.modules())
        if not module.automatic_optimization or is_random or numel * size > _MOST_ELEMENTS:
            return None
        tensors, rebuild = _taken_apart(batch, size)
        names = {id(param): f"module.{name}" for name, param in module.named_parameters()}
        params = {names[id(param)]: param.detach() for param in self.params}
        self.rerun.restore(self.trainer, module)

        def loss_of(params: dict[str, Tensor], rows: list[Tensor]) -> Tensor:
            sample = rebuild([row.unsqueeze(0) for row in rows])
            step = _TrainingStep(module, self.trainer, self.capture.first_batch + number)
            loss: Tensor = functional_call(step, params, (sample,))
            return loss

        try:
            grads = vmap(grad(loss_of), in_dims=(None, 0))(params, tensors)
        except Exception:  # data-dependent control flow, a layer without a batching rule, state that is written
            return None
        flat = [torch.linalg.vector_norm(one.flatten(1), dim=1, dtype=torch.float64) for one in grads.values()]
        norms: list[float] = torch.linalg.vector_norm(torch.stack(flat), dim=0).tolist()
        return norms


class _TrainingStep(nn.Module):
    """The training step of a module, as the forward pass that `functional_call` needs."""

    def __init__(self, module: LightningModule, trainer: Trainer, index: int) -> None:
        super().__init__()
        self.module, self._trainer, self._index = module, trainer, index

    def forward(self, sample: Any) -> Tensor:
        """Return the loss."""
        return _loss_of(self._trainer.strategy.training_step(sample, self._index))


def names_of(context: StepContext) -> list[str]:
    """Return the names of the parameters that have a gradient."""
    return [plain_name(name) for name in context.original.names]


def _unscaled(rerun: Rerun, trainer: Trainer, context: StepContext) -> None:
    assert context.original is not None  # collecting the gradients unscales them


def _loss_of(output: Any) -> Tensor:
    loss: Tensor = output["loss"] if isinstance(output, dict) else output
    return loss


def _taken_apart(batch: Any, size: int) -> tuple[list[Tensor], Callable[[list[Tensor]], Any]]:
    """The tensors of a batch that hold one row per sample, and a function that puts others in their place."""
    found: list[Tensor] = []

    def collect(value: Any) -> Any:
        if isinstance(value, Tensor) and value.dim() and len(value) == size:
            found.append(value)
            return len(found) - 1, _Slot
        return _over(collect, value)

    template = collect(batch)

    def rebuild(tensors: list[Tensor]) -> Any:
        def put(value: Any) -> Any:
            if isinstance(value, tuple) and len(value) == 2 and value[1] is _Slot:
                return tensors[value[0]]
            return _over(put, value)

        return put(template)

    return found, rebuild


class _Slot:
    """Marks the place of a tensor."""


def _over(function: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, dict):
        return {key: function(one) for key, one in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(function, value))
    if isinstance(value, tuple | list):
        return type(value)(function(one) for one in value)
    return value
