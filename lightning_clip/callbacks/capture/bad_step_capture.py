"""`BadStepCapture`: writes what is needed to take a bad step again."""

import math
import os
from collections import deque
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from typing_extensions import override

from lightning_clip._checks import check_choice, check_count, check_instance, check_path, check_rule
from lightning_clip._compat import grad_scaler
from lightning_clip._errors import reason_of
from lightning_clip.callbacks._gradient_observer import observers
from lightning_clip.callbacks.capture.files import CaptureFiles
from lightning_clip.callbacks.capture.payload import payload_of
from lightning_clip.callbacks.capture.plain import NotPlainError
from lightning_clip.callbacks.capture.sample_callback import SampleCallback
from lightning_clip.callbacks.capture.window import Window
from lightning_clip.callbacks.step.context import StepContext
from lightning_clip.core.record.run_info import Event
from lightning_clip.core.switching import SpikeDetector

BadStep = Literal["spike", "non-finite"]

_SEEN_FACTOR = 3.0
"""A process has seen a bad step if its own loss is so many times the median of its latest losses."""


class BadStepCapture(SampleCallback):
    """Write each bad step to a file from which `replay` and `lightning-clip replay` take it again.

    A step is bad if its gradient norm is a severe outlier for the detector ("spike"), or NaN or infinite
    ("non-finite"). The file holds the batches of the step (all of an accumulation), the weights and buffers as they
    were before the forward pass, the state of the optimizers and of torch's random numbers, the carried recurrent state
    and the chunk of truncated BPTT, where the step was, the dataset indices of its samples, its losses and norms. The
    indices are those that the batch sampler drew, also with shuffled data and several workers; for iterable datasets
    and several loaders they are unknown, and the file says so. `torch.load(weights_only=True)` reads the file.

    Watching neither changes nor ends a training. It reads one number per step on the host; on a CPU this is free, on an
    accelerator it waits for the step, like `SkipSpikes` and `NonFiniteGuard`, which share that reading. Before each
    batch it copies the buffers (at once, into the same memory) and the random state. A manual optimization that makes
    several steps per batch also has its weights and optimizer states copied at the first one; truncated BPTT has not.
    The batches of an accumulation stay in memory until its step. After `keep` files, nothing is done any more.

    With several processes, rank zero writes its batch, and so does every rank whose own loss stands out.

    Args:
        on: The kinds of bad steps to write: `"spike"`, `"non-finite"` or both.
        keep: The largest number of files.
        max_bytes: The largest size of all files together, in bytes; a step that would exceed it is not written.
        folder: The folder for the files; by default, `bad_steps` in the folder of the logger, or in the Trainer's
            `default_root_dir`. An existing file is never overwritten.
        detector: The detector of spikes.

    Attributes:
        paths: The files written by this process in this session.

    Raises:
        ArgumentError: An argument is out of range.
        ArgumentTypeError: An argument has the wrong type.
        MisconfigurationException: At fit, if the parallel strategy hides the gradients.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> capture = BadStepCapture(keep=1)
        >>> trainer = Trainer(callbacks=[capture], logger=False, accelerator="cpu")
    """

    def __init__(
        self,
        on: BadStep | Sequence[BadStep] = ("spike", "non-finite"),
        *,
        keep: int = 3,
        max_bytes: int = 1 << 30,
        folder: str | os.PathLike[str] | None = None,
        detector: SpikeDetector | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        kinds = (on,) if isinstance(on, str) else on
        check_instance(name, Sequence, on=kinds)
        check_rule(f"{name}(on={on!r})", "name at least one kind of bad step", holds=len(kinds) > 0)
        for kind in kinds:
            check_choice(name, get_args(BadStep), on=kind)
        check_count(name, keep=keep, max_bytes=max_bytes)
        if folder is not None:
            check_path(name, folder=folder)
        check_instance(name, SpikeDetector, or_none=True, detector=detector)
        self.on = tuple(kinds)
        self.keep = keep
        self.max_bytes = max_bytes
        self.folder = folder
        self.detector = detector or SpikeDetector()
        self.paths: list[Path] = []
        self._files = CaptureFiles(Path("bad_steps"), max_bytes)
        self._detectors: dict[int, SpikeDetector] = {}
        self._latest_losses: deque[Tensor] = deque(maxlen=32)
        self._window: Window | None = None
        self._stands_aside = False

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self._indices.join(trainer)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        folder = self.folder
        if folder is None:
            logs = trainer.log_dir  # on every rank, because Lightning broadcasts it
            folder = Path(trainer.default_root_dir if logs is None or "://" in logs else logs) / "bad_steps"
        self._files = CaptureFiles(Path(folder), self.max_bytes, self._files.count, self._files.size)
        if any(isinstance(optimizer, torch.optim.LBFGS) for optimizer in trainer.optimizers):
            self._stand_aside("LBFGS evaluates a step several times, and no single batch and weights make it")

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._is_done():
            self._window = None
            return
        if self._window is None:
            self._window = Window(trainer, pl_module)
        self._window.begin_batch(trainer, batch, batch_idx, self._indices.of_batch(trainer))

    def _is_done(self) -> bool:
        return self._stands_aside or self._files.count >= self.keep

    @override
    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        if self._window is not None:
            self._window.add_loss(loss)

    @override
    def look(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        window = self._window
        if window is None or not len(context.original):
            return
        norm = float(context.original.total_norm())
        if not math.isfinite(norm) and not context.is_finite():
            scaler = grad_scaler(trainer)
            is_calibrating = scaler is not None and scaler.get_scale() >= 1.0  # the scaler handles the overflow itself
            reason = "" if is_calibrating else "non-finite"
        else:
            if context.index not in self._detectors:
                self._detectors[context.index] = deepcopy(self.detector)
            norm = norm if math.isfinite(norm) else float(context.original.total_norm())
            reason = "spike" if self._detectors[context.index].is_severe(norm) else ""
        if reason in self.on and self._saw_it(trainer, window):
            self._write(trainer, context, reason)
        if window.losses:
            self._latest_losses.append(window.losses[-1])
        window.before_step(trainer)

    @override
    def take_note(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        if self._window is not None:
            self._window.after_step()

    def _saw_it(self, trainer: Trainer, window: Window) -> bool:
        """Whether this process writes: rank zero does, and others if their own loss stands out."""
        if trainer.is_global_zero or not window.losses or not self._latest_losses:
            return trainer.is_global_zero
        loss = float(window.losses[-1].abs())
        usual = float(torch.stack([one.abs() for one in self._latest_losses]).median())
        return not loss <= _SEEN_FACTOR * usual

    def _write(self, trainer: Trainer, context: StepContext, reason: str) -> None:
        window, step = self._window, trainer.global_step
        assert window is not None
        if not window.is_whole:
            return  # the next batch is watched from its first step on
        try:
            payload = payload_of(trainer, context, window, reason, self._detectors.get(context.index))
            rank = f"-rank{trainer.global_rank}" if trainer.global_rank else ""
            self.paths.append(self._files.write(payload, f"step-{step:06d}-{reason}{rank}"))
        except NotPlainError as error:
            self._stand_aside(
                f"the batch or the state contains a {error}, which cannot be loaded safely; let the loader return "
                "tensors, numbers and strings in tuples, lists and dictionaries"
            )
        except Exception as error:
            self._stand_aside(reason_of(error))
        else:
            event = Event(step, "captured", f"{reason}: written to {self._files.folder}")
            for observer in observers(trainer):
                observer.add_event(event)

    def _stand_aside(self, reason: str) -> None:
        self._stands_aside, self._window = True, None
        rank_zero_warn(f"BadStepCapture writes no more bad steps, and the training goes on without it: {reason}")

    @override
    def _let_go(self) -> None:
        self._window = None

    @override
    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.paths, self._window, self._stands_aside = [], None, False
        self._files = CaptureFiles(self._files.folder, self.max_bytes)
        self._detectors = {}
        self._latest_losses.clear()

    @override
    def _save(self) -> dict[str, Any]:
        detectors = {index: detector.state_dict() for index, detector in self._detectors.items()}
        return {"count": self._files.count, "size": self._files.size, "detectors": detectors}

    @override
    def _load(self, state: dict[str, Any]) -> None:
        self._files = CaptureFiles(self._files.folder, self.max_bytes, int(state["count"]), int(state["size"]))
        for index, detector_state in state["detectors"].items():
            self._detectors[index] = deepcopy(self.detector)
            self._detectors[index].load_state_dict(detector_state)

    @override
    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_window": None}
