"""`TruncationBias`: the bias of truncated backpropagation through time, and the memory it saves."""

import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from typing_extensions import override

from lightning_clip._checks import check_count
from lightning_clip.callbacks.gradient_clipping import GradientClipping
from lightning_clip.callbacks.non_finite_guard import NonFiniteGuard
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.datamodules.streams.chunk import Chunk
from lightning_clip.datamodules.streams.stream_data_module import StreamDataModule
from lightning_clip.functional.saved_bytes import SavedBytes
from lightning_clip.modules.tbptt.losses import summed_loss
from lightning_clip.modules.tbptt_module import TBPTTModule
from lightning_clip.sinks.jsonl import JsonlSink
from lightning_clip.studies.cell import Cell
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.experiment import Experiment
from lightning_clip.studies.factory import Config, build
from lightning_clip.studies.study import overridden
from lightning_clip.studies.training import clipped_fraction, make_trainer

__all__ = ["TruncationBias"]

_SHORT, _LONG = 256, 1024


class TruncationBias(Experiment):
    """Compare the gradient of truncated backpropagation through time with the full gradient, at the same weights.

    The model, a `TBPTTModule`, is first trained as the trainer's options say; `max_epochs: 0` means no training. Its
    weights then stay fixed. The loss is the mean over all targets in the first steps of the training streams. Its
    gradient with respect to all recurrent weights (`weight_hh`) is computed twice: from one long chunk, and as the sum
    over short chunks, each of which starts from the final state of the chunk before.

    The metrics are:

    - `saved_bytes`, `saved_bytes_long`: the most memory that autograd keeps for one chunk, without parameters and
      inputs, over 256 and over 1,024 steps.
    - `cosine`: the cosine of the angle between the two gradients.
    - `relative_error`: the norm of their difference, relative to the norm of the full gradient.

    A run diverges if its training diverges, or if one of the two gradients is not finite. If the model is trained, the
    training is recorded.

    Args:
        chunk: The length of the short chunks, in steps.
        window: The length of the long chunk, in steps.

    Raises:
        ArgumentError: An argument is out of range.
        ArgumentTypeError: An argument is not a whole number.
    """

    def __init__(self, chunk: int = 16, *, window: int = 512) -> None:
        check_count("TruncationBias", chunk=chunk, window=window)
        self.chunk = chunk
        self.window = window

    @override
    def run(self, cell: Cell, record: Path) -> RunResult:
        start = time.perf_counter()
        config = cell.data or {}
        data, model = build(StreamDataModule, config), build(TBPTTModule, cell.model)  # type: ignore[type-abstract]
        clipping = GradientClipping(build(ClipStrategy, cell.strategy), sinks=[JsonlSink(record)])  # type: ignore[type-abstract]
        guard = NonFiniteGuard("stop")
        trainer = make_trainer([clipping, guard], cell.trainer)
        trainer.fit(model, datamodule=data)
        model.eval()
        full = _gradient(model, _chunks(config, self.window, self.window))
        truncated = _gradient(model, _chunks(config, self.chunk, self.window))
        is_lost = guard.total > 0 or not bool((full + truncated).isfinite().all())
        metrics: dict[str, float | None] = {
            "saved_bytes": _saved_bytes(model, _chunks(config, self.chunk, _SHORT)),
            "saved_bytes_long": _saved_bytes(model, _chunks(config, self.chunk, _LONG)),
            "cosine": float(torch.cosine_similarity(truncated, full, dim=0)),
            "relative_error": float((truncated - full).norm() / full.norm()),
        }
        return RunResult(
            model=cell.model_name,
            strategy=cell.strategy_name,
            seed=cell.seed,
            diverged=is_lost,
            diverged_at_step=trainer.global_step if is_lost else None,
            steps=trainer.global_step,
            seconds=round(time.perf_counter() - start, 3),
            clipped_fraction=clipped_fraction(clipping.history),
            metrics=dict.fromkeys(metrics) if is_lost else metrics,
            axes=dict(cell.axes),
            data=getattr(data, "description", ""),
        )


def _chunks(config: Config, chunk: int, window: int) -> Iterator[Chunk]:
    """Yield the first steps of the training streams in chunks."""
    data = build(StreamDataModule, overridden(config, {"init_args": {"truncated_bptt_steps": chunk}}))  # type: ignore[type-abstract]
    data.setup("fit")
    steps = 0
    for part in data.train_dataloader():
        yield part
        steps += part.inputs.shape[1]
        if steps >= window:
            return


def _loss(model: TBPTTModule, chunk: Chunk) -> tuple[Tensor, Tensor | int]:
    """The sum of the losses and the number of targets."""
    outputs = model.run_chunk(model.advance, chunk.inputs, chunk)
    return summed_loss(model.task, outputs, chunk.targets, chunk.mask)


def _gradient(model: TBPTTModule, chunks: Iterator[Chunk]) -> Tensor:
    """The gradient of the mean loss over all chunks in all recurrent weights, `(n,)`, in double precision."""
    weights = [weight for name, weight in model.recurrent.named_parameters() if name.startswith("weight_hh")]
    total, targets = torch.zeros(sum(weight.numel() for weight in weights), dtype=torch.double), 0
    for chunk in chunks:
        loss, count = _loss(model, chunk)
        total += torch.cat([part.flatten() for part in torch.autograd.grad(loss, weights)])
        targets += int(count)
    return total / targets


def _saved_bytes(model: TBPTTModule, chunks: Iterator[Chunk]) -> int:
    """The most memory that autograd keeps for one chunk, in bytes."""
    sizes = []
    for chunk in chunks:
        with SavedBytes(*model.parameters(), *(part for part in chunk if isinstance(part, Tensor))) as saved:
            _loss(model, chunk)
        sizes.append(saved.total)
    return max(sizes)
