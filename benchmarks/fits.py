"""Fits in the Trainer that benchmarks time: networks, callbacks and one function."""

import contextlib
import io
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import grad_norm
from measuring import Times
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from lightning_clip import GradientClipping

WARM_UP = 5
acted: list[float] = []
"""The share of the steps at which a limit acted, of each fit with a `GradientClipping`."""


class Fitted(pl.LightningModule):
    """A network and a loss."""

    def __init__(self, net: nn.Module, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.loss = net, loss

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self.loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class Manual(Fitted):
    """The same in manual optimization; clips by hand where the Trainer refuses to."""

    def __init__(self, net: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], *, clips: bool = False) -> None:
        super().__init__(net, loss)
        self.automatic_optimization, self.clips = False, clips

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        optimizer, loss = self.optimizers(), super().training_step(batch, batch_idx)
        optimizer.zero_grad()
        self.manual_backward(loss)
        if self.clips:
            self.clip_gradients(optimizer, gradient_clip_val=1.0)
        optimizer.step()
        return loss


class SmallLSTM(nn.Module):
    """An LSTM of 32 units and a linear layer; a step on 20 time steps takes a few milliseconds."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 32, batch_first=True), nn.Linear(32, 1)

    def forward(self, values: Tensor) -> Tensor:
        return self.head(self.lstm(values)[0][:, -1])


class WithAutoclip(Fitted):
    """A network whose gradients the package `autoclip` clips."""

    def on_fit_start(self) -> None:
        from autoclip.torch import QuantileClip

        self.clipper = QuantileClip(self.parameters(), quantile=0.9, history_length=1000, global_threshold=True)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.clipper.step()


class LogsTotal(Fitted):
    """The same network, with the total norm of the gradients logged."""

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.log("grad_norm", torch.nn.utils.get_total_norm([param.grad for param in self.parameters()]))


class LogsNorms(Fitted):
    """The same network, with the norm of each gradient logged as in Lightning's documentation."""

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.log_dict(grad_norm(self, norm_type=2))


class Clips(pl.Callback):
    """The shortest callback that clips; it records nothing and knows no other optimizer."""

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        torch.nn.utils.clip_grad_norm_(pl_module.parameters(), 1.0)


class Clock(pl.Callback):
    """Records when the warmup steps are over."""

    def __init__(self, warm_up: int) -> None:
        self.warm_up = warm_up

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self.warm_up:
            self.start = time.process_time()


class Repeated(IterableDataset[Any]):
    """Repeats one batch forever."""

    def __init__(self, batch: tuple[Tensor, Tensor]) -> None:
        self.batch = batch

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield self.batch


def fit(
    module: pl.LightningModule,
    batch: tuple[Tensor, Tensor],
    batches: int,
    callbacks: Sequence[pl.Callback],
    *,
    warm_up: int = WARM_UP,
    steps_per_batch: int = 1,
    **options: Any,
) -> float:
    """Run a fit and return the seconds of processor time per batch after the warmup."""
    clock = Clock(warm_up * steps_per_batch)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_steps=(warm_up + batches) * steps_per_batch,
        max_epochs=-1,
        callbacks=[*callbacks, clock],
        **options,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.fit(module, DataLoader(Repeated(batch), batch_size=None))
    seconds = (time.process_time() - clock.start) / batches
    ours = [callback for callback in callbacks if isinstance(callback, GradientClipping)]
    acted.extend(callback.history.aggregates[0].clipped_fraction for callback in ours)
    return seconds


def rounds_of(fits: Mapping[str, Callable[[], float]], rounds: int) -> Times:
    """Time alternating fits that swap order, after one of each as a warmup."""
    for one in fits.values():
        one()
    times: Times = {name: [] for name in fits}
    for turn in range(rounds):
        order = list(fits.items())
        for name, one in order if turn % 2 else reversed(order):
            times[name].append(one())
    return times


def quiet() -> None:
    """Silence what Lightning prints at each fit."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", category=FutureWarning)
