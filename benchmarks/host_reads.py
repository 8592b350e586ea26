"""How often does the host read the device? Run `python benchmarks/host_reads.py`."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import torch
from growth import strategies
from lightning.fabric.utilities.apply_func import convert_tensors_to_scalars
from lightning.pytorch.utilities import grad_norm
from measuring import Table
from parameter_sets import many, with_gradients
from pretended_accelerator import PretendedAccelerator
from torch import nn

from lightning_clip import ClipStrategy, Gradients, clip_
from lightning_clip.core import StepBuffer

FLUSH = 50
NOTES = (
    "There was no accelerator. The reads are counted by a `TorchFunctionMode` (`pretended_accelerator.py`) under "
    "which every tensor claims to be on a CUDA device. It counts `item`, `tolist`, `float`, `bool`, `int`, `nonzero`, "
    "`cpu` and `to` the host: on a real device, each of them makes the host wait for everything launched before. The "
    "gradients are 20 tensors of 64 × 64. The optimizer is Adam, whose state some strategies read. Our steps are "
    "flushed every 50 steps.",
    "The peers are reimplemented from their published descriptions. AutoClip adds up `.item()` of the norm of each "
    "parameter. ZClip reads the total norm at each step. Lightning's `grad_norm` makes a tensor of each norm, and "
    "`log_dict` passes each one to the loggers as a number every 50 steps. `SkipSpikes` and `SkipAbove` document "
    "that they read once per step: only the host can skip a step.",
)


class Ours:
    """The engine with a strategy, flushed every 50 steps."""

    def __init__(self, module: nn.Module, strategy: ClipStrategy) -> None:
        self.names, self.params = map(list, zip(*module.named_parameters(), strict=True))
        self.optimizer = torch.optim.Adam(self.params)
        self.optimizer.step()  # some strategies read its state
        self.grads = [param.grad for param in self.params]
        self.strategy, self.buffer, self.step = strategy, StepBuffer(), 0

    def __call__(self) -> None:
        for param, grad in zip(self.params, self.grads, strict=True):
            param.grad = grad.clone()
        grads = Gradients(self.names, self.params, step=self.step, optimizer=self.optimizer)
        self.buffer.add(clip_(grads, self.strategy))
        self.step += 1

    def flush(self) -> None:
        self.buffer.flush()


class Peer:
    """Code of another project: what it does at each step and every 50 steps."""

    def __init__(self, step: Callable[[], object], flush: Callable[[], object] = lambda: None) -> None:
        self.step, self.flush = step, flush

    def __call__(self) -> None:
        self.step()


def peers(module: nn.Module) -> dict[str, Peer]:
    """Return other implementations of monitoring or clipping, by name."""
    params, norms, logged = list(module.parameters()), [1.0], SimpleNamespace(metrics={})

    def autoclip() -> None:
        norms.append(sum(param.grad.norm(2).item() ** 2 for param in params) ** 0.5)
        coef = min(1.0, float(np.percentile(norms, 10)) / (norms[-1] + 1e-6))
        torch._foreach_mul_([param.grad for param in params], coef)

    def zclip() -> None:
        norms.append(torch.stack([param.grad.norm(2) for param in params]).norm().item())

    def lightning() -> None:
        logged.metrics = grad_norm(module, norm_type=2)

    return {
        "public AutoClip": Peer(autoclip),
        "public ZClip": Peer(zclip),
        "log_dict(grad_norm(…))": Peer(lightning, lambda: convert_tensors_to_scalars(logged.metrics)),
    }


def counted(run: Ours | Peer, steps: int) -> tuple[int, int]:
    """Return the number of reads between flushes and at flushes."""
    between = at_flush = 0
    for start in range(0, steps, FLUSH):
        with PretendedAccelerator() as device:
            for _ in range(start, start + FLUSH):
                run()
        between += device.reads
        with PretendedAccelerator() as device:
            run.flush()
        at_flush += device.reads
    return between, at_flush


def measure(*, steps: int = 100) -> Table:
    """Return the table.

    Args:
        steps: The number of steps, a multiple of 50.
    """
    columns = ("code", "reads between flushes, per 1,000 steps", "reads at flushes, per 1,000 steps", "flushes")
    table = Table("Host reads", columns, notes=NOTES)
    torch.manual_seed(0)
    runs = {name: Ours(with_gradients(many(20)), make()) for name, make in strategies().items()}
    for name, run in (runs | peers(with_gradients(many(20)))).items():
        between, at_flush = counted(run, steps)
        table.add(name, f"{between * 1000 / steps:g}", f"{at_flush * 1000 / steps:g}", f"{1000 / FLUSH:g}")
    return table


if __name__ == "__main__":
    torch.set_num_threads(1)
    measure().show()
