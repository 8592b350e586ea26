"""`NormMeter`: measures total norms, step by step, in a stretch of training that will be undone."""

import math
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch.optim import SGD, Optimizer
from typing_extensions import override

from lightning_clip.callbacks.step.action_point import StepCallback
from lightning_clip.callbacks.step.context import StepContext
from lightning_clip.core.clip import clip_
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.record.norm_sample import NormSample
from lightning_clip.functional.norms import combine_norms, tensor_norms
from lightning_clip.strategies.norm_clip import NormClip


class NormMeter(StepCallback):
    """Measures the total norm of each step, then clips the step at the median norm so far, or lower.

    Reads the device at each step. A step whose gradient is NaN or infinite is skipped.

    Args:
        num_steps: The number of steps of the optimizer that steps most often.
        max_update_ratio: How far a step of SGD may move the weights, as a fraction of their norm; `None` for no limit.
        norm_type: p of the p-norm.
        max_steps: The number of optimizer steps at which the run itself ends; -1 for no limit.
        max_epochs: The number of epochs at which the run itself ends; -1 for no limit.
        keeps_parameters: Whether to keep the norm of each parameter, too.

    Attributes:
        samples: What was measured, by the optimizer's position in `trainer.optimizers`.
        parameter_norms: The 2-norm of each parameter's gradient, by name, at each step, by the optimizer's position.
    """

    def __init__(
        self,
        num_steps: int,
        max_update_ratio: float | None,
        *,
        norm_type: float = 2.0,
        max_steps: int = -1,
        max_epochs: int = -1,
        keeps_parameters: bool = False,
    ) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.max_update_ratio = max_update_ratio
        self.norm_type = norm_type
        self.max_steps = max_steps
        self.max_epochs = max_epochs
        self.keeps_parameters = keeps_parameters
        self.samples: dict[int, NormSample] = {}
        self.parameter_norms: dict[int, list[dict[str, float]]] = {}
        self._longest: dict[int, float] = {}

    @override
    def act(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        grads = context.current
        if not len(grads) or bool(context.skipped):  # an overflow of the gradient scaler is no divergence
            return
        sample = self.samples.setdefault(context.index, NormSample())
        norm = float(grads.total_norm(self.norm_type))
        if sample.add(norm):
            context.skip()
            trainer.should_stop = True
            return
        if self.keeps_parameters:
            by_name = dict(zip(grads.names, grads.norms().tolist(), strict=True))
            self.parameter_norms.setdefault(context.index, []).append(by_name)
        self._limit_step(sample, grads, context)
        if sample.norms:
            clip_(grads, NormClip(sample.threshold("median"), norm_type=self.norm_type), optimizer_index=context.index)

    def _limit_step(self, sample: NormSample, grads: Gradients, context: StepContext) -> None:
        """Find the threshold, in the p-norm of this step, at which the 2-norm of the step is at its limit."""
        if context.index not in self._longest:
            self._longest[context.index] = longest_gradient(context.optimizer, self.max_update_ratio)
        limit, norm = self._longest[context.index], float(grads.total_norm())
        if norm > 0 and math.isfinite(limit):
            sample.step_limit = min(sample.step_limit, limit * float(grads.total_norm(self.norm_type)) / norm)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        made = max((len(sample.norms) for sample in self.samples.values()), default=0)
        if made >= self.num_steps or 0 <= self.max_steps <= trainer.global_step:
            trainer.should_stop = True

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if 0 <= self.max_epochs <= trainer.current_epoch + 1:
            trainer.should_stop = True

    @override
    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A meter is used once."""

    @override
    def _save(self) -> dict[str, Any]:
        return {}

    @override
    def _load(self, state: dict[str, Any]) -> None:
        """Nothing is saved."""


def longest_gradient(optimizer: Optimizer, max_update_ratio: float | None) -> float:
    """The largest 2-norm of a gradient with which steps of SGD stay short; reads the device.

    Equal gradients, step after step, move the weights by rate / (1 - momentum) times the gradient. The rate is the
    highest that a warm-up will reach.

    Args:
        optimizer: The optimizer.
        max_update_ratio: The longest step as a fraction of the norm of the weights, or `None`.

    Returns:
        The norm; infinite if it is not known: for other optimizers, and for weights that are all zero.
    """
    if max_update_ratio is None or not isinstance(optimizer, SGD):
        return math.inf
    rate = max(_highest_rate(group) / max(1 - group["momentum"], 1e-3) for group in optimizer.param_groups)
    params = [param.detach() for group in optimizer.param_groups for param in group["params"]]
    weight_norm = float(combine_norms(tensor_norms(params)))
    is_known = rate > 0 and weight_norm > 0 and math.isfinite(weight_norm)
    return max_update_ratio * weight_norm / rate if is_known else math.inf


def _highest_rate(group: dict[str, Any]) -> float:
    return max(float(group[key]) for key in ("lr", "initial_lr", "max_lr") if group.get(key) is not None)
