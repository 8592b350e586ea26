"""Every strategy, with few, many and very many tensors: `python benchmarks/rules.py`."""

import time
from collections.abc import Callable
from itertools import count

import torch
from growth import strategies
from measuring import Table, in_turn, median, ratio, spread, verdict
from parameter_sets import many, mlp, with_gradients
from torch import nn
from torch.nn.utils import clip_grad_norm_

from lightning_clip import ClipStrategy, Gradients, clip_
from lightning_clip.core import StepBuffer
from lightning_clip.core.names import parameter_names
from lightning_clip.core.total_norm_strategy import TotalNormStrategy

FLUSH, NORM, LIMIT = 50, 100.0, 1.0
ROUND = 10
"""The number of steps in a round. Each round has the same norms, so that no round is of another kind."""

SETS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "4": (mlp, 1, 1),
    "300": (lambda: many(300), 3, 1),
    "5,000": (lambda: nn.ParameterList([nn.Parameter(torch.randn(8, 8)) for _ in range(5_000)]), 10, 4),
}
NOTES = (
    "Ours is `clip_` with the strategy's defaults into a `StepBuffer` that is flushed every 50 steps; theirs is "
    "`torch.nn.utils.clip_grad_norm_(…, 1.0, foreach=True)`, which always acts. Both see the same norms: 100 times a "
    "log-normal number with a standard deviation of 0.3, the same ten in each round of ten steps. The two alternate "
    "and swap order at each step. A flush is timed apart, and each step of ours takes its share of it. `acts` is the "
    "share of our timed steps at which the strategy changed something. 300 tensors have 64 × 64 elements, 5,000 have "
    "8 × 8.",
    "The number of operations of a step does not depend on the number of tensors, which "
    "`tests/contract/test_operations.py` counts. What is left on the CPU is memory: the next table has the floor of "
    "the rules that read and write most. `SpectralClip` multiplies matrices.",
    "Until the memory for copies of small tensors was kept, the same rule had another ratio in each table: where the "
    "allocator gave that memory back to the system at each step, the next step had to get it again. Whether gradients "
    "were rescaled in place or copied, cold or warm, with flushes or without, changed the ratio of `NormClip` by at "
    "most 0.03.",
)
# Rules per element, unit or matrix have a floor above that of rules on the total norm.
_ELEMENTS = {"AGC", "AdaptiveMaxClip", "CoordinateClip", "SpikeClip", "UpdateRMSClip", "ValueClip"}


def target(cls: type[ClipStrategy] | Callable[[], ClipStrategy], name: str, tensors: str) -> float | None:
    """Return the bound on the ratio, or `None` if none is set."""
    on_total = isinstance(cls, type) and issubclass(cls, TotalNormStrategy)
    bounds = {"4": 1.6, "300": 1.05, "5,000": 1.08 if name == "NormClip" else None}
    return bounds[tensors] if on_total else 3.0 if name in _ELEMENTS and tensors == "300" else None


class Ours:
    """The engine with one strategy; each call makes and records one step."""

    def __init__(self, module: nn.Module, strategy: ClipStrategy) -> None:
        self.optimizer = torch.optim.Adam(module.parameters())
        self.optimizer.step()  # some strategies read its state
        self.names, self.strategy, self.buffer = parameter_names(module), strategy, StepBuffer()
        self.numbers = count()
        self.forget()

    def __call__(self) -> None:
        grads = Gradients.of_optimizer(self.optimizer, self.names, step=next(self.numbers))
        self.buffer.add(clip_(grads, self.strategy))

    def flush(self) -> None:
        """Read the steps since the last flush."""
        start = time.process_time()
        records = self.buffer.flush()
        self.shares.append((time.process_time() - start) / max(1, len(records)))
        self.acted += [record.clipped or record.skipped for record in records]

    def forget(self) -> None:
        """Begin to count: what share of a flush a step takes, and at which steps the strategy acted."""
        self.shares: list[float] = []
        self.acted: list[bool] = []


def measure(*, rounds: int = 30, warm_up: int = 70, names: tuple[str, ...] = tuple(SETS)) -> Table:
    """Return the table.

    Args:
        rounds: The number of timed rounds of ten steps of each side with 4 tensors; a fraction of it with more.
        warm_up: The number of steps before them, which fill the histories of most rules; a fraction with 5,000.
        names: The sets of parameters.
    """
    columns = ("strategy", *(f"{name} tensors: {what}" for name in names for what in ("ratio", "target", "acts")))
    table = Table("Rules", columns, notes=NOTES)
    for name, make in strategies().items():
        cells = [cell for tensors in names for cell in _cells(name, make, tensors, rounds, warm_up)]
        table.add(name, *cells)
    return table


def _cells(name: str, make: Callable[[], ClipStrategy], tensors: str, rounds: int, warm_up: int) -> list[str]:
    module, fewer_rounds, fewer_steps = SETS[tensors]
    net = with_gradients(module())
    params = list(net.parameters())
    grads = [param.grad.clone() for param in params]
    total = torch.stack(torch._foreach_norm(grads)).norm()
    torch._foreach_mul_(grads, NORM / total)
    draw = torch.Generator().manual_seed(0)
    sizes = torch.exp(0.3 * torch.randn(ROUND, generator=draw)).tolist()

    def refresh(turn: int) -> None:
        for param, grad in zip(params, grads, strict=True):
            if param.grad is None:  # the step before was skipped
                param.grad = torch.empty_like(grad)
        torch._foreach_copy_([param.grad for param in params], torch._foreach_mul(grads, sizes[turn % ROUND]))

    ours, calls = Ours(net, make()), count()
    for turn in range(max(1, warm_up // fewer_steps)):
        refresh(turn)
        ours()
    ours.flush()
    ours.forget()

    def before() -> None:
        if len(ours.buffer) == FLUSH:
            ours.flush()
        refresh(next(calls) // 2)  # both sides of a turn see the same norm

    times = in_turn(
        {"ours": ours, "torch": lambda: clip_grad_norm_(params, LIMIT, foreach=True)},
        rounds=max(1, rounds // fewer_rounds),
        steps=ROUND,
        before=before,
    )
    ours.flush()
    times["ours"] = [seconds + median(ours.shares) for seconds in times["ours"]]
    value, bound = ratio(times, "ours", "torch"), target(make, name, tensors)
    shown = f"{value:.2f} [{spread(times, 'ours', 'torch')}]"
    return [shown, verdict(value, at_most=bound) if bound else "", f"{100 * sum(ours.acted) / len(ours.acted):.0f}%"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    measure().show()
