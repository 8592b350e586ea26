"""Does a step cost more the longer a run lasts? Run `python benchmarks/growth.py`."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import torch
from measuring import Table, duration, in_turn, median, ratio, verdict
from torch import nn

import lightning_clip
from lightning_clip import AutoClip, ClipStrategy, Gradients, clip_
from lightning_clip.core import History, StepRecord

EARLY, LATE, REAL = 100, 100_000, 1_100
NOTES = (
    "Each strategy runs twice with its defaults, on two tensors with Adam: one copy after 100 real steps, the other "
    "brought to step 100,000 by 1,100 real steps, which fill every window (the largest holds 1,024 norms), and then "
    "by setting its step counters to 100,000. The two alternate. `AutoClip(window=None)`, which remembers the whole "
    "run, holds 1,024 norms and 8,192 counts from its first step.",
    "The public AutoClip appends each norm to a list and takes `numpy.percentile` of the whole list at each step. It "
    "is reimplemented here from its published description, with a list of 100 and of 100,000 norms.",
    "Bytes are the size of a strategy's buffers after 100 and after 1,100 steps, and the memory that Python holds for "
    "a `History` of 20,000 and of 40,000 steps of two parameters (its window is 10,000).",
)


def strategies() -> dict[str, Callable[[], ClipStrategy]]:
    """Return every strategy of the package, and `AutoClip` with its whole history."""
    offered = [getattr(lightning_clip, name) for name in lightning_clip.strategies.__all__]
    classes = [one for one in offered if isinstance(one, type) and issubclass(one, ClipStrategy)]
    return {one.__name__: one for one in classes} | {"AutoClip(window=None)": lambda: AutoClip(window=None)}


class Run:
    """A strategy on two tensors; each call makes one more step."""

    def __init__(self, make: Callable[[], ClipStrategy], steps: int) -> None:
        self.strategy = make()
        self.params = [nn.Parameter(torch.randn(8, 8)), nn.Parameter(torch.randn(8))]
        self.optimizer = torch.optim.Adam(self.params)
        self.grads = [[torch.randn_like(param) for param in self.params] for _ in range(64)]
        self.step = 0
        self._use(self.grads[0])
        self.optimizer.step()  # some strategies read its state
        for _ in range(steps):
            self()

    def __call__(self) -> None:
        self._use(self.grads[self.step % len(self.grads)])
        clip_(Gradients(["weight", "bias"], self.params, step=self.step, optimizer=self.optimizer), self.strategy)
        self.step += 1

    def forward_to(self, step: int) -> None:
        """Set the step counters as if `step` steps had been made."""
        for buffer in self.strategy.buffers():
            if buffer.dtype == torch.int64 and buffer.dim() == 0 and buffer >= 0.9 * self.step:
                buffer.fill_(step)
        self.step = step

    @property
    def nbytes(self) -> int:
        """The size of the strategy's buffers."""
        return sum(buffer.nbytes for buffer in self.strategy.buffers())

    def _use(self, grads: list[torch.Tensor]) -> None:
        for param, grad in zip(self.params, grads, strict=True):
            param.grad = grad.clone()


class PublicAutoClip:
    """Clips at a percentile of all norms so far, which it keeps in a list."""

    def __init__(self, steps: int) -> None:
        self.norms = list(np.random.default_rng(0).lognormal(size=steps))
        self.params = [nn.Parameter(torch.randn(8, 8)), nn.Parameter(torch.randn(8))]
        for param in self.params:
            param.grad = torch.randn_like(param)

    def __call__(self) -> None:
        total = 0.0
        for param in self.params:
            total += param.grad.norm(2).item() ** 2
        self.norms.append(total**0.5)
        nn.utils.clip_grad_norm_(self.params, float(np.percentile(self.norms, 10)))


def history_bytes(steps: int) -> int:
    """Return the memory that Python holds for a history of `steps` steps."""
    tracemalloc.start()
    history = History()
    for start in range(0, steps, 50):
        history.extend(
            [StepRecord(k, 0, "A()", 1.5 + k, 1.0, 1.0, 0.5, True, True, False) for k in range(start, start + 50)]
        )
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held


def measure(*, rounds: int = 20, real: int = REAL, late: int = LATE, recorded: int = 20_000) -> Table:
    """Return the table.

    Args:
        rounds: The number of timed rounds of twenty steps per strategy.
        real: The number of real steps before the counters are set.
        late: The late step that an early step is compared with.
        recorded: The number of steps in the shorter history.
    """
    columns = ("strategy", "step 100", "step 100,000", "late / early", "target", "bytes early", "bytes late")
    table = Table("Growth", columns, notes=NOTES)
    for name, make in strategies().items():
        early, run = Run(make, min(EARLY, real)), Run(make, real)
        run.forward_to(late)
        before = early.nbytes
        times = in_turn({"early": early, "late": run}, rounds=rounds, steps=20)
        value = ratio(times, "late", "early")
        shown = duration(median(times["early"])), duration(median(times["late"]))
        table.add(name, *shown, f"{value:.2f}", verdict(value, at_most=1.1), f"{before:,}", f"{run.nbytes:,}")
    times = in_turn({"early": PublicAutoClip(EARLY), "late": PublicAutoClip(late)}, rounds=rounds)
    shown = duration(median(times["early"])), duration(median(times["late"]))
    table.add("public AutoClip", *shown, f"{ratio(times, 'late', 'early'):.0f}", "", f"{8 * EARLY:,}", f"{8 * late:,}")
    table.add("History", "", "", "", "", f"{history_bytes(recorded):,}", f"{history_bytes(2 * recorded):,}")
    return table


if __name__ == "__main__":
    torch.set_num_threads(1)
    measure().show()
