"""`replay`: takes a captured step again, checks that it is the same step, and finds out where it came from."""

import math
import os
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from lightning_clip._checks import check_instance
from lightning_clip.callbacks.step.context import StepContext
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.recurrent.gates import GATES, GateMeter
from lightning_clip.replays.capture import Capture, load_capture
from lightning_clip.replays.outcomes import outcomes_of
from lightning_clip.replays.report import report_of
from lightning_clip.replays.rerun import Rerun, take_again
from lightning_clip.replays.result import StepTaken
from lightning_clip.replays.samples import SampleNorm, SamplePass, names_of
from lightning_clip.replays.split import batch_size, sample_of, tensors_of
from lightning_clip.replays.trace import NonFinite, first_non_finite, input_gradients, norms_by_step
from lightning_clip.reports.text import Report

__all__ = ["replay"]


class Replay(StepTaken):
    """A bad step taken again, which prints itself; `StepTaken` documents its attributes."""

    def report(self) -> Report:
        """Return the report, for `print` and for rich."""
        return report_of(self)

    def __str__(self) -> str:
        return str(self.report())


def replay(capture: str | os.PathLike[str] | Capture, module: LightningModule) -> Replay:
    """Take a bad step again, up to the moment before the optimizer steps.

    The module is copied, and the copy gets the weights, buffers, optimizer states and random numbers of the capture.
    Forward and backward passes run in a Trainer on the CPU, with the precision of the run. Then each sample is taken
    alone: its own loss, its own gradient, with the weights of the step. BatchNorm uses its running statistics there.

    Args:
        capture: A file that `BadStepCapture` wrote, or the result of `load_capture`.
        module: A module built with the options of the run; its weights do not matter.

    Returns:
        What was found out; print it, or use its attributes and `to_dict()`.

    Raises:
        InputError: The file is no capture, or the module does not fit it.
        ArgumentTypeError: The module is no LightningModule.

    Example:
        >>> import tempfile
        >>> from lightning.pytorch import Trainer, seed_everything
        >>> from lightning_clip import BadStepCapture, MLPRegressor, RegressionDataModule, SpikeDetector
        >>> _ = seed_everything(0, verbose=False)
        >>> capture = BadStepCapture(keep=1, folder=tempfile.mkdtemp(), detector=SpikeDetector(severe=1.0, mild=0.5))
        >>> quiet = dict(logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu")
        >>> trainer = Trainer(max_epochs=2, callbacks=[capture], enable_checkpointing=False, **quiet)
        >>> trainer.fit(MLPRegressor(), RegressionDataModule())
        >>> replay(capture.paths[0], MLPRegressor()).is_exact
        True
    """
    check_instance("replay", LightningModule, module=module)
    saved = capture if isinstance(capture, Capture) else load_capture(capture)
    copy = deepcopy(module)
    for name in ("log", "log_dict"):  # outside of their hooks, Lightning refuses to log
        setattr(copy, name, lambda *args, **kwargs: None)
    look = _Look(saved)
    with first_non_finite(copy) as look.trace:
        take_again(saved, copy, Rerun(saved, look.at_step))
    return look.result()


@dataclass
class _Look:
    """What is found out while the step is taken again."""

    capture: Capture
    trace: NonFinite = field(default_factory=NonFinite)
    parts: dict[str, Any] = field(default_factory=dict)

    def at_step(self, rerun: Rerun, trainer: Trainer, context: StepContext) -> None:
        """Measure the step, and then its samples."""
        grads = context.original
        grads.is_finite()
        gradients = {
            name: tensor.detach().clone() for name, tensor in zip(names_of(context), grads.tensors, strict=True)
        }
        weights = {name: param.detach().clone() for name, param in zip(gradients, grads.params, strict=True)}
        self.trace.is_watching = False
        first = self.trace.found[0] if self.trace.found else None
        self.parts = {
            "losses": list(rerun.losses),
            "norm": float(grads.total_norm()),
            "norms": dict(zip(gradients, grads.norms().tolist(), strict=True)),
            "first_non_finite": first,
            "outcomes": outcomes_of(
                gradients,
                weights,
                self.capture.norms_before,
                optimizer=context.optimizer,
                params=dict(zip(gradients, grads.params, strict=True)),
            ),
            "notes": self._notes(),
        }
        try:
            self._take_samples(SamplePass(self.capture, trainer, rerun, context), list(gradients))
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as error:
            reason = " ".join(str(error).split())
            self.parts["notes"].append(f"single samples cannot be taken: {reason[:200]}")

    def _notes(self) -> list[str]:
        notes = []
        bad = [name for name, tensor in self.capture.weights.items() if not bool(tensor.isfinite().all())]
        if bad:
            notes.append(f"the weights were NaN or infinite before the step, first {bad[0]}")
        for batch in self.capture.batches:
            for name, tensor in tensors_of(batch).items():
                if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                    notes.append(f"the batch itself contains NaN or infinity, in {name}")
        if self.capture.world_size > 1:
            notes.append(
                f"the recorded norm is that of the mean over {self.capture.world_size} processes; "
                f"this is the gradient of process {self.capture.rank} alone"
            )
        if all(samples is None for samples in self.capture.samples):
            notes.append("the data loader did not tell which samples of the dataset are in the batch")
        return notes

    def _take_samples(self, single: SamplePass, names: list[str]) -> None:
        modules = [one for one in single.module.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
        for one in modules:
            one.eval()
        if modules:
            self.parts["notes"].append("samples alone: BatchNorm uses its running statistics, not those of the batch")
        samples, how = single.norms()
        self.parts |= {"samples": samples, "how": how}
        if not samples:
            self.parts["notes"].append(how)
            return
        worst = max(samples, key=lambda one: one.norm if math.isfinite(one.norm) else math.inf)
        with input_gradients(single.module) as inputs:
            gradients = single.one(worst.batch, worst.position)
        self.parts |= {
            "worst": worst,
            "values": self._values(worst),
            "worst_norms": _norms(names, gradients),
            "gates": _gates(single.module, names, gradients),
            "by_step": norms_by_step(inputs),
        }

    def _values(self, worst: SampleNorm) -> dict[str, list[float]]:
        """The numbers of the worst sample, and how far each tensor is from the rest of the batch."""
        batch = self.capture.batches[worst.batch]
        sample = sample_of(batch, worst.position, batch_size(batch) or 1)
        return {
            name: tensor.to(torch.float64).flatten().tolist()
            for name, tensor in tensors_of(sample).items()
            if not tensor.is_complex()
        }

    def result(self) -> Replay:
        """Return everything as one object."""
        return Replay(capture=self.capture, **self.parts)


def _norms(names: list[str], gradients: list[Tensor]) -> dict[str, float]:
    grads = _gradients(names, gradients)
    return dict(zip(grads.names, grads.norms().tolist(), strict=True))


def _gates(module: nn.Module, names: list[str], gradients: list[Tensor]) -> dict[str, dict[str, float]]:
    meter = GateMeter(1)
    meter.watch(module)
    found = meter.measure(_gradients(names, gradients), 0, now=True)
    return {name: dict(zip(GATES[len(norms)], norms.tolist(), strict=True)) for name, norms in found.items()}


def _gradients(names: list[str], gradients: list[Tensor]) -> Gradients:
    params = [nn.Parameter(torch.empty_like(grad), requires_grad=grad.is_floating_point()) for grad in gradients]
    for param, grad in zip(params, gradients, strict=True):
        param.grad = grad
    return Gradients(names, params)
