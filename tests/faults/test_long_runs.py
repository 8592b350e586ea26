"""Memory does not grow with the length of a run: a million steps of the engine, 200,000 of a Trainer."""

import gc
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import lightning.pytorch as pl
import psutil
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from lightning_clip import (
    AutoClip,
    CsvSink,
    DivergenceRollback,
    GradientClipping,
    Gradients,
    JsonlSink,
    NonFiniteGuard,
    NormClip,
    StrategySwitcher,
    ZClip,
    clip_,
)
from lightning_clip.core import History, StepBuffer
from tests.support.training import Net, loader, quiet_trainer

LIMIT = 1.05


def memory() -> float:
    """What the process holds, in bytes."""
    gc.collect()
    return float(psutil.Process().memory_info().rss)


def assert_bounded(early: float, late: float, steps: int, record_property) -> None:
    record_property("measured", f"memory after {steps:,} steps: {late / early:.3f} times")
    assert late <= LIMIT * early


@pytest.mark.parametrize(
    ("steps", "early"), [(3_000, 1_000), pytest.param(1_000_000, 10_000, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_the_engine_holds_no_more_after_many_steps(steps, early, record_property):
    """Strategies, buffer and history over so many steps, against their early part."""
    torch.manual_seed(0)
    params = [nn.Parameter(torch.randn(8, 4)), nn.Parameter(torch.randn(8))]
    gradients = [[torch.randn_like(param) * scale for param in params] for scale in (0.1, 1.0, 10.0, 1e6)]
    strategies = [NormClip(1.0), AutoClip(10), ZClip()]
    buffer, history = StepBuffer(), History()
    for step in range(steps):
        for param, gradient in zip(params, gradients[step % 97 % 4], strict=True):
            param.grad = gradient.clone()
        buffer.add(clip_(Gradients(["a", "b"], params, step=step), strategies[step % 3]))
        if len(buffer) >= 50:
            history.extend(buffer.flush())
        if step == early:
            at_first = memory()
    history.extend(buffer.flush())
    assert sum(total.steps for total in history.aggregates.values()) == steps
    assert_bounded(at_first, memory(), steps, record_property)


class Endless(IterableDataset):
    """The same few batches again and again."""

    def __init__(self) -> None:
        self.batches = list(loader())

    def __iter__(self) -> Iterator[list[torch.Tensor]]:
        return cycle(self.batches)


class Watch(pl.Callback):
    """Measures the memory at one step."""

    def __init__(self, step: int) -> None:
        self.step, self.seen = step, 0.0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            self.seen = memory()


@pytest.mark.parametrize(
    ("steps", "early"), [(600, 200), pytest.param(200_000, 10_000, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_a_trainer_holds_no_more_after_many_steps(steps, early, tmp_path: Path, record_property):
    """All callbacks that act at every step, with files, over so many steps, against their early part."""
    watch = Watch(early)
    clipping = GradientClipping(AutoClip(50), sinks=[JsonlSink(tmp_path / "run.jsonl"), CsvSink(tmp_path / "run.csv")])
    callbacks = [DivergenceRollback(), NonFiniteGuard(), clipping, StrategySwitcher([NormClip(0.01)]), watch]
    trainer = quiet_trainer(callbacks=callbacks, max_epochs=1, max_steps=steps)
    trainer.fit(Net(lr=1e-4), DataLoader(Endless(), batch_size=None))
    assert clipping.history.aggregates[0].steps == steps
    assert_bounded(watch.seen, memory(), steps, record_property)
