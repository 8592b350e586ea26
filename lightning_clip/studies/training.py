"""`Training`: the default experiment of a study: train, then evaluate."""

import logging
import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer

from lightning_clip._checks import did_you_mean
from lightning_clip._errors import InputError
from lightning_clip.callbacks.gradient_clipping import GradientClipping
from lightning_clip.callbacks.non_finite_guard import NonFiniteGuard
from lightning_clip.core.record.history import History
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.sinks.jsonl import JsonlSink
from lightning_clip.studies.cell import Cell
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.experiment import Experiment
from lightning_clip.studies.factory import build
from lightning_clip.studies.metrics.study_metric import StudyMetric

__all__ = ["Training", "make_trainer"]


class Training(Experiment):
    """Train a model on data with a strategy, then evaluate it.

    A run diverges when a gradient, the loss or a final metric becomes NaN or infinite. Training then stops at once,
    before the bad update, and the only metrics of the run are those of its `StudyMetric` callbacks.
    """

    def run(self, cell: Cell, record: Path) -> RunResult:
        """Train and evaluate once.

        Args:
            cell: The cell to run.
            record: The path for the step-by-step record of the run.

        Returns:
            The result of the run.
        """
        data = build(LightningDataModule, cell.data or {})
        model = build(LightningModule, cell.model)
        strategy = build(ClipStrategy, cell.strategy)  # type: ignore[type-abstract]
        clipping = GradientClipping(strategy, sinks=[JsonlSink(record)])
        guard = NonFiniteGuard("stop")
        callbacks = [build(Callback, config) for config in cell.callbacks]
        # `clipping` closes its record when training ends, so what measures the end of a run comes before it
        first = [one for one in callbacks if isinstance(one, StudyMetric)]
        others = [one for one in callbacks if one not in first]
        trainer = make_trainer([*first, clipping, guard, *others], cell.trainer)
        start = time.perf_counter()
        trainer.fit(model, datamodule=data)
        seconds = time.perf_counter() - start
        metrics = dict(_evaluated(trainer, model, data, cell.evaluate_on))
        diverged = guard.total > 0 or not all(math.isfinite(value) for value in metrics.values())
        totals = clipping.history.aggregates.values()
        bad_steps = [total.first_nonfinite for total in totals if total.first_nonfinite is not None]
        return RunResult(
            model=cell.model_name,
            strategy=cell.strategy_name,
            seed=cell.seed,
            diverged=diverged,
            diverged_at_step=min(bad_steps, default=trainer.global_step) if diverged else None,
            steps=trainer.global_step,
            seconds=round(seconds, 3),
            clipped_fraction=clipped_fraction(clipping.history),
            metrics=_kept({**{n: None if diverged else v for n, v in metrics.items()}, **_measured(callbacks)}, cell),
            axes=dict(cell.axes),
            data=getattr(data, "description", ""),
        )


def make_trainer(callbacks: list[Callback], options: Mapping[str, Any]) -> Trainer:
    """Make the trainer of a run: on the CPU and silent, unless the study says otherwise.

    Args:
        callbacks: The callbacks of the run.
        options: The arguments of the `Trainer` in the study.

    Returns:
        A new trainer.
    """
    return Trainer(callbacks=callbacks, **{**_TRAINER_DEFAULTS, **options})


def clipped_fraction(history: History) -> float:
    """Return the fraction of the finite steps that were clipped, over all optimizers, in [0, 1]."""
    totals = history.aggregates.values()
    finite_steps = sum(total.steps - total.nonfinite for total in totals)
    return sum(total.clipped for total in totals) / max(finite_steps, 1)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's messages (devices, data-loader workers, logging intervals) inside a `with` block."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _evaluated(
    trainer: Trainer, model: LightningModule, data: LightningDataModule, splits: Sequence[str]
) -> Iterator[tuple[str, float]]:
    """Yield what the module logs as `test_…`, once per split, under the name of the split."""
    for split in splits:
        loader = data.train_dataloader() if split == "train" else data.test_dataloader()
        for name, value in trainer.test(model, dataloaders=loader, verbose=False)[0].items():
            yield f"{split}_{name.removeprefix('test_')}", value


def _measured(callbacks: Sequence[Callback]) -> dict[str, float | None]:
    metrics = {n: v for one in callbacks if isinstance(one, StudyMetric) for n, v in one.metrics.items()}
    return {name: value if value is not None and math.isfinite(value) else None for name, value in metrics.items()}


def _kept(metrics: dict[str, float | None], cell: Cell) -> dict[str, float | None]:
    if cell.metrics and not metrics.keys() & set(cell.metrics):
        name, known = cell.metrics[0], ", ".join(metrics) or "none"
        raise InputError(f"metrics: {name!r} is not among those of the run: {known}{did_you_mean(name, metrics)}")
    return {name: metrics.get(name) for name in cell.metrics} if cell.metrics else metrics


_LOGGERS = ("lightning.pytorch", "lightning.fabric")

_TRAINER_DEFAULTS: dict[str, Any] = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "limit_val_batches": 0,
}
