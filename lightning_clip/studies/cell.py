"""`Cell`: one run of a study."""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything

from lightning_clip.callbacks.gradient_clipping import GradientClipping
from lightning_clip.callbacks.non_finite_guard import NonFiniteGuard
from lightning_clip.core.results import RunResult
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.sinks.jsonl import JsonlSink
from lightning_clip.studies.factory import Config, build
from lightning_clip.studies.quiet import quiet_lightning

__all__ = ["Cell", "run_cell"]


@dataclass(frozen=True)
class Cell:
    """One run: a model, a strategy and a seed, everything built fresh from its configuration after seeding.

    Attributes:
        model_name: The model's name in the study.
        model: The model's configuration.
        strategy_name: The strategy's name in the study.
        strategy: The strategy's configuration.
        data: The data module's configuration.
        seed: Seeds Python, numpy and torch.
        trainer: Arguments of the `Trainer`.
    """

    model_name: str
    model: Config
    strategy_name: str
    strategy: Config
    data: Config
    seed: int
    trainer: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells a run apart from the others of its study."""
        return self.model_name, self.strategy_name, self.seed


def run_cell(cell: Cell, record: Path) -> RunResult:
    """Train and evaluate once, on one thread.

    A run whose gradient, loss or final metric is not finite has diverged: it is stopped at once, before the bad
    update, and has no metrics.

    Args:
        cell: What to run.
        record: The file that the run is recorded in, step by step.

    Returns:
        What came out.
    """
    torch.set_num_threads(1)
    with quiet_lightning():
        seed_everything(cell.seed, verbose=False)
        data = build(LightningDataModule, cell.data)
        model = build(LightningModule, cell.model)
        record.unlink(missing_ok=True)  # of a run that was interrupted
        strategy = build(ClipStrategy, cell.strategy)  # type: ignore[type-abstract]
        clipping = GradientClipping(strategy, sinks=[JsonlSink(record)])
        guard = NonFiniteGuard("stop")
        trainer = make_trainer([clipping, guard], cell.trainer)
        start = time.perf_counter()
        trainer.fit(model, datamodule=data)
        seconds = time.perf_counter() - start
        metrics = _evaluate(trainer, model, data)
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
        metrics={name: None if diverged else value for name, value in metrics.items()},
    )


def make_trainer(callbacks: list[Callback], options: dict[str, Any]) -> Trainer:
    """The trainer of a run: on the CPU and silent, unless the study says otherwise.

    Args:
        callbacks: What is to take part besides the callbacks of the study.
        options: Arguments of the `Trainer` in the study.

    Returns:
        A new trainer.
    """
    return Trainer(callbacks=callbacks, **{**_TRAINER_DEFAULTS, **options})


def _evaluate(trainer: Trainer, model: LightningModule, data: LightningDataModule) -> dict[str, float]:
    """What the module logs as `test_…`, on the training and on the test data."""
    result: dict[str, float] = {}
    for split, loader in (("train", data.train_dataloader()), ("test", data.test_dataloader())):
        for name, value in trainer.test(model, dataloaders=loader, verbose=False)[0].items():
            result[f"{split}_{name.removeprefix('test_')}"] = value
    return result


_TRAINER_DEFAULTS: dict[str, Any] = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "limit_val_batches": 0,
}
