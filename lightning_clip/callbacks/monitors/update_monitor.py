"""`UpdateMonitor`: measures how long the optimizer's updates are beside the weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

from lightning_clip._checks import check_count
from lightning_clip._compat import uncompiled
from lightning_clip._errors import reason_of
from lightning_clip.callbacks._gradient_observer import observers
from lightning_clip.callbacks._metrics import publish
from lightning_clip.callbacks._run_callback import RunCallback
from lightning_clip.core.names import parameter_names
from lightning_clip.core.record.update_sizes import UpdateSizes
from lightning_clip.functional.norms import combine_norms, tensor_norms


class UpdateMonitor(RunCallback):
    r"""Measure the weights and what an optimizer step changes in them, every so many steps.

    The update ratio of a parameter is $\lVert \Delta w \rVert / \lVert w \rVert$, where $\Delta w$ is what one step
    changed, momentum, weight decay and learning rate included. About 0.001 is usual; near 1, a step replaces the
    weights instead of improving them. Adam's updates often grow before its gradients do.

    A measured step costs a copy of the weights, and is read at the end of its batch; other steps cost nothing. Training
    stays the same, bit for bit. Each sample goes to every `GradientClipping` and `GradientMonitor` of the trainer as a
    `Measurement` of kind `"update-sizes"`, which lists at most 64 parameters, those with the largest ratios. The
    loggers receive `update_ratio/total`, `update_ratio/max` (the largest of a weight matrix), `update_ratio/median`
    and `weight_norm/total`; the keys of a second optimizer end in `-1`.

    It never ends a training: if measuring fails, one warning says so, and the run goes on without samples.

    Args:
        every_n_steps: The number of optimizer steps between samples.

    Attributes:
        latest: The latest sample; `None` before the first.

    Raises:
        ArgumentTypeError: `every_n_steps` is not a whole number.
        ArgumentError: `every_n_steps` is below 1.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> from lightning_clip import GradientMonitor
        >>> trainer = Trainer(callbacks=[GradientMonitor(), UpdateMonitor(50)], logger=False, accelerator="cpu")
    """

    def __init__(self, every_n_steps: int = 100) -> None:
        super().__init__()
        check_count(type(self).__name__, every_n_steps=every_n_steps)
        self.every_n_steps = every_n_steps
        self.latest: UpdateSizes | None = None
        self._next_steps: dict[int, int] = {}
        self._open: dict[int, _OpenStep] = {}
        self._stands_aside = False

    @uncompiled
    @override
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        index = next((i for i, one in enumerate(trainer.optimizers) if one is optimizer), len(trainer.optimizers))
        due = trainer.global_step >= self._next_steps.get(index, 0)
        if not due or index in self._open or self._stands_aside or not optimizer.param_groups:
            return
        try:
            self._open[index] = _OpenStep.of(trainer.global_step, pl_module, optimizer)
        except Exception as error:
            self._stand_aside(trainer, error)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        opened, self._open = self._open, {}
        for index, one in opened.items():
            one.hook.remove()
            if one.norms is None and one.error is None:
                continue  # the step was not made, for instance because the gradient scaler skipped it
            try:
                self.latest = one.read(index)
            except Exception as error:
                self._stand_aside(trainer, error)
                return
            self._next_steps[index] = (one.step // self.every_n_steps + 1) * self.every_n_steps
            for observer in observers(trainer):
                observer.add_measurement(self.latest.to_measurement())
            publish(trainer, _metrics(self.latest))

    def _stand_aside(self, trainer: Trainer, error: Exception) -> None:
        self._close()
        self._stands_aside = True
        rank_zero_warn(f"UpdateMonitor cannot measure step {trainer.global_step} and stands aside: {reason_of(error)}")

    def _close(self) -> None:
        for one in self._open.values():
            one.hook.remove()
        self._open = {}

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._close()

    @override
    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()
        self._next_steps, self._stands_aside, self.latest = {}, False, None

    @override
    def _save(self) -> dict[str, Any]:
        return {"next_steps": dict(self._next_steps)}

    @override
    def _load(self, state: dict[str, Any]) -> None:
        self._next_steps = {int(index): int(step) for index, step in state["next_steps"].items()}


@dataclass(slots=True)
class _OpenStep:
    """A step that is being measured.

    Attributes:
        step: The number of optimizer steps completed before it.
        names: The name of each parameter that has a gradient.
        params: The parameters.
        before: A copy of each before the step.
        hook: The hook that runs after the step.
        norms: The norms of the weights and of the updates, each `(n,)`, on the device; `None` before the step is made.
        error: The error that measuring raised, if there was one.
    """

    step: int
    names: Sequence[str]
    params: list[Tensor]
    before: list[Tensor]
    hook: Any = None
    norms: tuple[Tensor, Tensor] | None = None
    error: Exception | None = None

    @classmethod
    def of(cls, step: int, pl_module: LightningModule, optimizer: Optimizer) -> "_OpenStep":
        known = parameter_names(pl_module)
        params = [param for group in optimizer.param_groups for param in group["params"] if param.grad is not None]
        names = [known.get(id(param), str(i)) for i, param in enumerate(params)]
        opened = cls(step, names, params, [param.detach().clone() for param in params])
        opened.hook = optimizer.register_step_post_hook(opened.measure)
        return opened

    @uncompiled
    def measure(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Compute the norms right after the step, without reading them; an error must not leave the step."""
        try:
            with torch.no_grad():
                updates = [param.detach() - old for param, old in zip(self.params, self.before, strict=True)]
                self.norms = tensor_norms(self.before), tensor_norms(updates)
        except Exception as error:
            self.error = error
        self.before = []

    def read(self, optimizer: int) -> UpdateSizes:
        """Read the norms, with one copy from the device, or raise the error that measuring raised."""
        if self.norms is None:
            raise self.error or RuntimeError("the step has not been made")
        totals = torch.stack([combine_norms(norms) for norms in self.norms])
        values = torch.cat([totals, *self.norms]).tolist()
        (weight, update), rest = values[:2], values[2:]
        half = len(self.names)
        dims = [param.dim() for param in self.params]
        return UpdateSizes(
            self.step, optimizer, weight, update, self.names, dims, rest[:half], rest[half:]
        ).largest_first()


def _metrics(sizes: UpdateSizes) -> dict[str, float]:
    ratios, suffix = sizes.update_ratios, f"-{sizes.optimizer}" if sizes.optimizer else ""
    matrices = [ratios[name] for name, dim in zip(sizes.names, sizes.dims, strict=True) if dim > 1 and name in ratios]
    values = {
        "update_ratio/total": sizes.update_ratio,
        "update_ratio/max": max(matrices, default=None),
        "update_ratio/median": median(ratios.values()) if ratios else None,
        "weight_norm/total": sizes.weight_norm,
    }
    return {key + suffix: value for key, value in values.items() if value is not None and math.isfinite(value)}
