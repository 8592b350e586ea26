"""Clip, record and report in the Trainer, compared with its own clipping: `python benchmarks/trainer.py`."""

import contextlib
import io
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import grad_norm
from measuring import Table, Times, duration, median, ratio, verdict
from parameter_sets import WORDS, WordLSTM, mlp
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from lightning_clip import AutoClip, GradientClipping, GradientMonitor, JsonlSink, NormClip, RichGradientReport

WARM_UP = 5
NOTES = (
    "A time is that of a whole fit after its first 5 steps, including the report and closing the record, divided by "
    "the number of steps. The fits alternate; the ratio is the median over the rounds. `lstm` reads 4 rows of 20 "
    "words and steps with SGD: the smaller the batch, the harder the comparison. `mlp` is the network of the built-in "
    "study (20 → 25 → 1, 32 rows) and logs nothing by itself.",
    "On the MLP, a whole step of Lightning takes well under a millisecond, and no memory traffic hides what is added: "
    "Lightning calls two callbacks at six hooks per step, and measuring, deciding and recording take some 60 calls "
    "into torch and numpy, a few microseconds each in a program whose caches hold other data. The row of `NormClip` "
    "alone shows how much of this is not the decision. Most of the rest is `AutoClip`, which takes a quantile of its "
    "window of 1,000 norms at each step.",
    "Lightning documents `self.log_dict(grad_norm(self, norm_type=2))` in `on_before_optimizer_step`. The last row "
    "compares what each method adds to a fit without monitoring, with 100 parameters.",
)


class Fitted(pl.LightningModule):
    """A network and a loss."""

    def __init__(self, net: nn.Module, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.loss = net, loss

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self.loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class LogsNorms(Fitted):
    """The same network, with the norm of each gradient logged as in Lightning's documentation."""

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.log_dict(grad_norm(self, norm_type=2))


class Clock(pl.Callback):
    """Records when the warmup steps are over."""

    def __init__(self, warm_up: int) -> None:
        self.warm_up = warm_up

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self.warm_up:
            self.start = time.perf_counter()


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
    """Run a fit and return the seconds per batch after the warmup."""
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
    return (time.perf_counter() - clock.start) / batches


def rounds_of(fits: Mapping[str, Callable[[], float]], rounds: int) -> Times:
    """Time alternating fits, after one of each as a warmup."""
    for one in fits.values():
        one()
    times: Times = {name: [] for name in fits}
    for _ in range(rounds):
        for name, one in fits.items():
            times[name].append(one())
    return times


def measure(
    *, rounds: int = 5, lstm_rounds: int = 3, mlp_steps: int = 1500, lstm_steps: int = 60, watched_steps: int = 100
) -> Table:
    """Return the table.

    Args:
        rounds: The number of fits per side.
        lstm_rounds: The number of fits per side of the LSTM.
        mlp_steps: The number of steps per fit of the MLP.
        lstm_steps: The number of steps per fit of the LSTM.
        watched_steps: The number of steps per fit with 100 parameters.
    """
    quiet()
    table = Table("Trainer", ("run", "ours", "other", "ours / other", "target"), notes=NOTES)
    words = torch.randint(WORDS, (20, 4)), torch.randint(WORDS, (20, 4))
    rows = torch.randn(32, 20), torch.randn(32, 1)

    def of_words(scores: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten())

    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "run.jsonl"

        def with_record(strategy: type[pl.Callback] = GradientClipping) -> list[pl.Callback]:
            record.unlink(missing_ok=True)
            sinks = [JsonlSink(record)]
            if strategy is GradientMonitor:
                return [GradientMonitor(sinks=sinks)]
            return [GradientClipping(AutoClip(), sinks=sinks), RichGradientReport()]

        recurrent, small = Fitted(WordLSTM(), of_words), Fitted(mlp(), nn.functional.mse_loss)
        for name, module, batch, steps, turns, target in (
            ("lstm", recurrent, words, lstm_steps, lstm_rounds, 1.02),
            ("mlp", small, rows, mlp_steps, rounds, 1.15),
        ):
            fits = {
                "ours": lambda m=module, b=batch, n=steps: fit(m, b, n, with_record()),
                "trainer": lambda m=module, b=batch, n=steps: fit(m, b, n, [], gradient_clip_val=1.0),
            }
            times = rounds_of(fits, turns)
            value, shown = ratio(times, "ours", "trainer"), [duration(median(one)) for one in times.values()]
            row = f"{name}: AutoClip + JSONL + report / Trainer(gradient_clip_val=1.0)"
            table.add(row, *shown, f"{value:.3f}", verdict(value, at_most=target))

        parts = {
            "ours": lambda: fit(small, rows, mlp_steps, [GradientClipping(NormClip(1.0))]),
            "trainer": lambda: fit(small, rows, mlp_steps, [], gradient_clip_val=1.0),
        }
        times = rounds_of(parts, rounds)
        value, shown = ratio(times, "ours", "trainer"), [duration(median(one)) for one in times.values()]
        table.add("mlp: NormClip alone / Trainer(gradient_clip_val=1.0)", *shown, f"{value:.3f}", "")

        net = nn.Sequential(*(nn.Linear(20, 20) for _ in range(50)))
        wide = torch.randn(32, 20), torch.randn(32, 20)
        plain, logging_norms = Fitted(net, nn.functional.mse_loss), LogsNorms(net, nn.functional.mse_loss)
        times = rounds_of(
            {
                "nothing": lambda: fit(plain, wide, watched_steps, []),
                "ours": lambda: fit(plain, wide, watched_steps, with_record(GradientMonitor)),
                "theirs": lambda: fit(logging_norms, wide, watched_steps, []),
            },
            rounds,
        )
        ours, theirs = (median(times[name]) - median(times["nothing"]) for name in ("ours", "theirs"))
        value = theirs / max(ours, 1e-9)
        row = "added by GradientMonitor + JSONL, by log_dict(grad_norm(…)); other / ours"
        table.add(row, duration(ours), duration(theirs), f"{value:.1f}", verdict(value, at_least=10))
    return table


def quiet() -> None:
    """Silence what Lightning prints at each fit."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", category=FutureWarning)


if __name__ == "__main__":
    torch.set_num_threads(1)
    measure().show()
