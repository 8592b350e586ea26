"""Clip and record without a Trainer: three lines in a plain PyTorch loop work with every strategy."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lightning_clip import ClipStrategy, Gradients, ZClip, clip_
from lightning_clip.core import History, RunInfo, StepBuffer, parameter_names
from lightning_clip.reports import render_report

Batch = tuple[Tensor, Tensor]


def train(net: nn.Module, batches: Iterable[Batch], strategy: ClipStrategy) -> History:
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    names, buffer, history = parameter_names(net), StepBuffer(), History()
    for step, (x, y) in enumerate(batches):
        loss = nn.functional.mse_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        grads = Gradients.of_optimizer(optimizer, names, step=step)  # 1. collect the gradients
        buffer.add(clip_(grads, strategy, loss=loss))  # 2. measure, decide, clip in place; reads nothing
        optimizer.step()
        if len(buffer) == 50:
            history.extend(buffer.flush())  # 3. read 50 steps at once
    history.extend(buffer.flush())
    return history


def batches(count: int = 200) -> list[Batch]:
    """Return batches of a noisy linear function; the inputs of one batch are 1000 times too large."""
    generator = torch.Generator().manual_seed(0)
    xs = [torch.randn(16, 4, generator=generator) for _ in range(count)]
    xs[count // 2] *= 1000
    return [(x, x.sum(1, keepdim=True) + 0.1 * torch.randn(16, 1, generator=generator)) for x in xs]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))


def main() -> None:
    strategy = ZClip()
    history = train(network(), batches(), strategy)
    print(render_report(history, RunInfo(model="plain loop", strategy=repr(strategy), optimizer="AdamW(lr=0.01)")))


if __name__ == "__main__":
    main()
