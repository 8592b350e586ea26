"""A small training that writes a record and checkpoints, in processes of its own that can be killed at any point."""

import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_clip import (
    AutoClip,
    DivergenceRollback,
    GradientClipping,
    JsonlSink,
    NoClip,
    NonFiniteGuard,
    NormClip,
    StrategySwitcher,
)
from lightning_clip.core import SpikeDetector
from tests.support.training import quiet_trainer, weights_of

STEPS = 40
_FORK: Any = multiprocessing.get_context("fork")  # a fork has everything imported already


class Life(pl.LightningModule):
    """A regression whose batch depends on the step alone, so that a resumed run sees what the first one would have."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.BatchNorm1d(3), nn.Linear(3, 1))

    def training_step(self, batch, batch_idx):
        generator = torch.Generator().manual_seed(self.global_step)
        x = torch.randn(6, 4, generator=generator)
        scale = {11: 1e4, 23: float("nan"), 31: 1e4, 32: 1e4, 33: 1e4}.get(self.global_step, 1.0)
        return scale * nn.functional.mse_loss(self.net(x), x.sum(dim=1, keepdim=True))

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.05)
        return [optimizer], [{"scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 7), "interval": "step"}]

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.zeros(STEPS, 1)), batch_size=1)


def live(folder: Path, max_steps: int = STEPS) -> None:
    """Train from the latest checkpoint in a folder, or from the start; keep record, checkpoints and final weights."""
    checkpoints = sorted(folder.glob("*.ckpt"))
    saving = ModelCheckpoint(folder, "{step:04d}", every_n_train_steps=7, save_top_k=-1, save_on_train_epoch_end=False)
    callbacks = [
        DivergenceRollback(snapshot_every_n_steps=7, detector=SpikeDetector(warmup_steps=5)),
        NonFiniteGuard(),
        GradientClipping(NoClip(), sinks=[JsonlSink(folder / "run.jsonl")], flush_every_n_steps=3),
        StrategySwitcher([AutoClip(window=8), NormClip(0.1)], detector=SpikeDetector(warmup_steps=5)),
        saving,
    ]
    module = Life()
    trainer = quiet_trainer(
        max_epochs=-1, max_steps=max_steps, callbacks=callbacks, enable_checkpointing=True, log_every_n_steps=10
    )
    trainer.fit(module, ckpt_path=checkpoints[-1] if checkpoints else None, weights_only=True)
    final = {"weights": weights_of(module), "optimizer": trainer.optimizers[0].state_dict()}
    torch.save(final | {"callbacks": {one.state_key: one.state_dict() for one in callbacks[:-1]}}, folder / "final.pt")


def in_a_process(function: Callable[[], None]) -> int:
    """Call a function in a forked process and return its exit code; the negative signal if it was killed."""
    process = _FORK.Process(target=_quietly, args=(function,))
    process.start()
    process.join()
    return process.exitcode


def _quietly(function: Callable[[], None]) -> None:
    warnings.simplefilter("ignore")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        function()


def events_of(function: Callable[[], None]) -> int:
    """Count the calls, of Python and of C functions, that a function makes in a forked process."""
    reader, writer = _FORK.Pipe(duplex=False)

    def counted() -> None:
        count = 0

        def tick(frame: Any, event: str, arg: Any) -> None:
            nonlocal count
            count += 1

        sys.setprofile(tick)
        function()
        sys.setprofile(None)
        writer.send(count)

    assert in_a_process(counted) == 0
    return reader.recv()


def signaled_after(function: Callable[[], None], events: int, number: signal.Signals = signal.SIGKILL) -> int:
    """Call a function in a forked process that gets a signal after so many calls; a clock would hit other points."""

    def doomed() -> None:
        left = events

        def tick(frame: Any, event: str, arg: Any) -> None:
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), number)

        sys.setprofile(tick)
        function()

    return in_a_process(doomed)
