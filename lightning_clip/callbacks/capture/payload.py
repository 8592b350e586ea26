"""`payload_of`: everything that a capture holds, as tensors on the CPU and plain types."""

from typing import Any

from lightning.pytorch import Trainer

from lightning_clip._compat import grad_scaler
from lightning_clip.callbacks._trainer import place_of
from lightning_clip.callbacks.capture.plain import plain
from lightning_clip.callbacks.capture.window import Window
from lightning_clip.callbacks.step.context import StepContext
from lightning_clip.core.switching import SpikeDetector

_NORMS_BEFORE = 100
"""How many norms of the steps before are kept, for strategies that adapt to them."""


def payload_of(
    trainer: Trainer, context: StepContext, window: Window, reason: str, detector: SpikeDetector | None
) -> dict[str, Any]:
    """Return what is needed to take a step again; `Capture` documents the keys.

    Args:
        trainer: The trainer, at the step.
        context: The context of the step.
        window: Its batches, and the state before them.
        reason: Why the step is bad.
        detector: The detector that has read the norms, the latest one included if it is finite.

    Raises:
        NotPlainError: Part of it is of a type that cannot be loaded safely.
    """
    grads, scaler = context.original, grad_scaler(trainer)
    scale = scaler.get_scale() if scaler is not None else None
    norms = detector.norms if detector is not None else []
    return {
        "reason": reason,
        "step": trainer.global_step,
        "epoch": trainer.current_epoch,
        "first_batch": window.first_batch,
        "batch": place_of(trainer).batch,
        "step_before": window.step,
        "steps_before": window.steps,
        "optimizer": context.index,
        "optimizer_name": type(context.optimizer).__name__,
        "model": type(trainer.lightning_module).__name__,
        "precision": str(trainer.precision),
        "scale": scale,
        "accumulate": trainer.accumulate_grad_batches,
        "rank": trainer.global_rank,
        "world_size": trainer.world_size,
        "losses": [float(loss) / (scale or 1.0) for loss in window.losses],
        "own_losses": window.own_losses,
        "norm": float(grads.total_norm()),
        "norms": dict(zip(grads.names, grads.norms().tolist(), strict=True)),
        "norms_before": (norms[:-1] if reason == "spike" else norms)[-_NORMS_BEFORE:],
        "samples": window.samples,
        "batches": plain(window.batches),
        **window.state(trainer),
    }
