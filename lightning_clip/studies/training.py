"""`Training`: the experiment of most studies: train, then evaluate."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer

from lightning_clip.callbacks.gradient_clipping import GradientClipping
from lightning_clip.callbacks.non_finite_guard import NonFiniteGuard
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.sinks.jsonl import JsonlSink
from lightning_clip.studies.cell import Cell
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.experiment import Experiment
from lightning_clip.studies.factory import build
from lightning_clip.studies.metrics.study_metric import StudyMetric

__all__ = ["Training", "make_trainer"]


class Training(Experiment):
    """Train a model on data under a strategy, and evaluate it.

    A run whose gradient, loss or final metric is not finite has diverged: it is stopped at once, before the bad
    update, and has no metrics but those that its `StudyMetric` callbacks add.
    """

    def run(self, cell: Cell, record: Path) -> RunResult:
        """Train and evaluate once.

        Args:
            cell: What to run.
            record: The file that the run is recorded in, step by step.

        Returns:
            What came out.
        """
        data = build(LightningDataModule, cell.data or {})
        model = build(LightningModule, cell.model)
        strategy = build(ClipStrategy, cell.strategy)  # type: ignore[type-abstract]
        clipping = GradientClipping(strategy, sinks=[JsonlSink(record)])
        guard = NonFiniteGuard("stop")
        callbacks = [build(Callback, config) for config in cell.callbacks]
        trainer = make_trainer([clipping, guard, *callbacks], cell.trainer)
        start = time.perf_counter()
        trainer.fit(model, datamodule=data)
        seconds = time.perf_counter() - start
        metrics = dict(_evaluated(trainer, model, data, cell.evaluate_on))
        diverged = guard.total > 0 or not all(math.isfinite(value) for value in metrics.values())
        totals = clipping.history.aggregates.values()
        finite_steps = sum(total.steps - total.nonfinite for total in totals)
        bad_steps = [total.first_nonfinite for total in totals if total.first_nonfinite is not None]
        return RunResult(
            model=cell.model_name,
            strategy=cell.strategy_name,
            seed=cell.seed,
            diverged=diverged,
            diverged_at_step=min(bad_steps, default=trainer.global_step) if diverged else None,
            steps=trainer.global_step,
            seconds=round(seconds, 3),
            clipped_fraction=sum(total.clipped for total in totals) / max(finite_steps, 1),
            metrics=_kept({**{n: None if diverged else v for n, v in metrics.items()}, **_measured(callbacks)}, cell),
            axes=dict(cell.axes),
            data=getattr(data, "description", ""),
        )


def make_trainer(callbacks: list[Callback], options: Mapping[str, Any]) -> Trainer:
    """The trainer of a run: on the CPU and silent, unless the study says otherwise.

    Args:
        callbacks: What is to take part besides the callbacks of the study.
        options: Arguments of the `Trainer` in the study.

    Returns:
        A new trainer.
    """
    return Trainer(callbacks=callbacks, **{**_TRAINER_DEFAULTS, **options})


def _evaluated(
    trainer: Trainer, model: LightningModule, data: LightningDataModule, splits: Sequence[str]
) -> Iterator[tuple[str, float]]:
    """What the module logs as `test_…`, on the training and on the test data."""
    for split in splits:
        loader = data.train_dataloader() if split == "train" else data.test_dataloader()
        for name, value in trainer.test(model, dataloaders=loader, verbose=False)[0].items():
            yield f"{split}_{name.removeprefix('test_')}", value


def _measured(callbacks: Sequence[Callback]) -> dict[str, float | None]:
    metrics = {n: v for one in callbacks if isinstance(one, StudyMetric) for n, v in one.metrics.items()}
    return {name: value if value is not None and math.isfinite(value) else None for name, value in metrics.items()}


def _kept(metrics: dict[str, float | None], cell: Cell) -> dict[str, float | None]:
    return {name: metrics.get(name) for name in cell.metrics} if cell.metrics else metrics


_TRAINER_DEFAULTS: dict[str, Any] = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "limit_val_batches": 0,
}
