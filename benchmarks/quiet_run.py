"""The share of steps that each strategy clips on a quiet run: run `python benchmarks/quiet_run.py`.

Nothing goes wrong in this run: 1,000 steps of normally distributed gradients of five tensors, whose scale varies with
a standard deviation of 0.25 in the logarithm. The total norm is about 0.5, so that limits of 1 are rarely reached. The
optimizer is Adam, whose state some strategies read. It prints one Markdown row per strategy with its defaults.
"""

import math
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from torch import nn

from lightning_clip import ClipStrategy, Gradients, clip_
from lightning_clip.core import StepBuffer
from lightning_clip.core.strategy_names import strategy_classes

STEPS = 1000
SHAPES = ((8, 4), (8,), (4, 8), (4,), (3, 2, 2))


def share_clipped(strategy: ClipStrategy, steps: int = STEPS) -> float:
    """The share of the steps in which the strategy changes a gradient."""
    random = torch.Generator().manual_seed(0)
    params = [nn.Parameter(torch.randn(shape, generator=random)) for shape in SHAPES]
    optimizer = torch.optim.Adam(params, lr=1e-4)
    size = 0.5 / math.sqrt(sum(param.numel() for param in params))
    names, buffer = [f"p{i}" for i in range(len(params))], StepBuffer()
    for step in range(steps):
        scale = size * math.exp(0.25 * float(torch.randn((), generator=random)))
        for param in params:
            param.grad = scale * torch.randn(param.shape, generator=random)
        buffer.add(clip_(Gradients(names, params, step=step, optimizer=optimizer), strategy))
        optimizer.step()
    records = buffer.flush()
    return sum(record.clipped or record.skipped for record in records) / len(records)


def rows() -> Iterator[str]:
    """One Markdown row per strategy."""
    for name, cls in sorted(strategy_classes().items()):
        if cls.__module__.startswith("lightning_clip."):
            yield f"| `{name}` | {share_clipped(cls()):.0%} |"


if __name__ == "__main__":
    print("| strategy | share of steps it clips on a quiet run |\n|---|---|")
    for row in rows():
        print(row, flush=True)
