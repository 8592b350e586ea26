"""Training in two processes, and the results of each."""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.multiprocessing as mp

from lightning_clip import GradientClipping, GradientMonitor
from tests.support.training import loader, quiet_trainer, weights_of


class Keep(pl.Callback):
    """Saves the weights and the first observer's record of each process at the end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        kept: dict[str, Any] = {"weights": weights_of(pl_module), "global_step": trainer.global_step}
        for callback in trainer.callbacks:
            if isinstance(callback, GradientClipping | GradientMonitor):
                kept["records"] = [asdict(record.without_params()) for record in callback.history]
                kept["events"] = [asdict(event) for event in callback.history.events]
                kept["metrics"] = {key: float(value) for key, value in trainer.callback_metrics.items()}
                break
        torch.save(kept, self.directory / f"rank{trainer.global_rank}.pt")


def fit_in_two(
    module: pl.LightningModule, callbacks: Sequence[pl.Callback], directory: Path, **options: Any
) -> list[dict[str, Any]]:
    """Fit with DDP on two forked processes, and return what each of them saved."""
    options = {"strategy": "ddp_fork", "max_epochs": 1, **options}
    trainer = quiet_trainer(devices=2, callbacks=[*callbacks, Keep(directory)], **options)
    trainer.fit(module, loader(rows=48))
    return [torch.load(directory / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


def as_torchrun(function: Callable[[int], None]) -> None:
    """Call `function(rank)` in two forked processes with the environment of torchrun."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.start_processes(_as_worker, args=(function, port), nprocs=2, start_method="fork")


def _as_worker(rank: int, function: Callable[[int], None], port: int) -> None:
    torch.set_num_threads(1)
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ.update({name: str(number) for name, number in numbers.items()})
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="test")
    function(rank)
