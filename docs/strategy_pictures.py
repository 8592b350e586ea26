"""A picture per strategy, of the same run: its norms and its limit. `python docs/strategy_pictures.py` draws them."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from picture_files import save_svg
from torch import Tensor, nn

import lightning_clip.strategies  # noqa: F401  (a class is found once it is defined)
from lightning_clip import (
    AutoClip,
    Blend,
    Chain,
    ClipStrategy,
    EmaRatioClip,
    Gradients,
    GroupNormClip,
    NoClip,
    NormClip,
    SkipAbove,
    SkipSpikes,
    SpikeClip,
    StrategySchedule,
    ThresholdSchedule,
    Tightest,
    ValueClip,
    clip_,
)
from lightning_clip.core import StepBuffer, StepRecord, parameter_names
from lightning_clip.core.strategy_names import strategy_classes

FOLDER = Path(__file__).parent / "pictures" / "strategies"
STEPS, LENGTH, BAD_BATCH = 400, 20, 250

# The others are drawn with their defaults; these do nothing of interest without arguments.
WITH_ARGUMENTS: dict[str, ClipStrategy] = {
    "Blend": Blend(NoClip(), NormClip(0.1), steps=200),
    "Chain": Chain([SkipSpikes(), NormClip(0.3)]),
    "GroupNormClip": GroupNormClip({"rnn.*": 0.1, "head.*": 0.3}),
    "NormClip": NormClip(0.3),
    "SkipAbove": SkipAbove(2.0),
    "SpikeClip": SpikeClip(200.0),
    "StrategySchedule": StrategySchedule({0: NormClip(0.1), 100: AutoClip(percentile=90)}),
    "ThresholdSchedule": ThresholdSchedule(NormClip(1.0), shape="linear", start=1.0, end=0.1, steps=STEPS),
    "Tightest": Tightest([EmaRatioClip(), NormClip(0.3)]),
    "ValueClip": ValueClip(0.05),
}

LIMITED = {
    "PerParameterNormClip": "limit per parameter",
    "SpectralClip": "limit per singular value",
    "ValueClip": "limit per element",
}
"""What a limit is for, where it is not for the norm of all gradients."""


def batch(random: torch.Generator) -> tuple[Tensor, Tensor]:
    """32 sequences of the adding problem `(20, 32, 2)` and the sums `(32, 1)` of their two marked numbers."""
    numbers, marks = torch.rand(LENGTH, 32, generator=random), torch.zeros(LENGTH, 32)
    first, second = (torch.randint(LENGTH // 2, (32,), generator=random) for _ in range(2))
    for rows in (first, second + LENGTH // 2):
        marks[rows, torch.arange(32)] = 1.0
    return torch.stack([numbers, marks], dim=-1), (numbers * marks).sum(0).unsqueeze(1)


def run(strategies: Sequence[ClipStrategy]) -> list[list[StepRecord]]:
    """Train a tanh RNN without clipping, and record what each strategy makes of each gradient."""
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(0)
    net = nn.ModuleDict({"rnn": nn.RNN(2, 16), "head": nn.Linear(16, 1)})
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    names, params = parameter_names(net), list(net.parameters())
    buffers = [StepBuffer() for _ in strategies]
    for step in range(STEPS):
        x, y = batch(random)
        if step == BAD_BATCH:
            y[0] = 100.0  # one wrong target among 32
        optimizer.zero_grad()
        nn.functional.mse_loss(net["head"](net["rnn"](x)[0][-1]), y).backward()
        grads = [param.grad.clone() for param in params if param.grad is not None]
        for strategy, buffer in zip(strategies, buffers, strict=True):
            buffer.add(clip_(Gradients.of_optimizer(optimizer, names, step=step), strategy))
            for param, grad in zip(params, grads, strict=True):
                param.grad = grad.clone()
        if step != BAD_BATCH:
            optimizer.step()
    return [buffer.flush() for buffer in buffers]


def draw(title: str, records: Sequence[StepRecord], limit_name: str) -> Figure:
    """Draw the norms of the records before and after clipping, and the limit."""
    figure = Figure(figsize=(7.2, 2.6), layout="constrained")
    axes = figure.subplots()
    steps = [record.step for record in records]
    before = [record.norm_before for record in records]
    limits = [record.threshold if record.threshold and record.threshold < 1e6 else None for record in records]
    axes.plot(steps, before, color="0.6", linewidth=1.0, label="norm before")
    after = [float("nan") if record.skipped else record.norm_after for record in records]
    axes.plot(steps, after, color="#0072B2", linewidth=1.2, label="norm after")
    if any(limit is not None for limit in limits):
        values = [float("nan") if limit is None else limit for limit in limits]
        axes.plot(steps, values, color="#D55E00", linewidth=1.0, linestyle="--", label=limit_name)
    skipped = [record.step for record in records if record.skipped]
    axes.plot(skipped, [before[step] for step in skipped], "kx", label="skipped" if skipped else None)
    clipped = sum(record.clipped and not record.skipped for record in records)
    done = [f"clips {clipped}"] * (bool(clipped) or not skipped) + [f"skips {len(skipped)}"] * bool(skipped)
    axes.set(yscale="log", ylim=(min(before) / 3, max(before) * 1.5), xlim=(0, len(records)), xlabel="step")
    axes.set_title(f"{title}: {' and '.join(done)} of {len(records)} steps", fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="upper left")
    return figure


def main() -> None:
    """Write one SVG per strategy of the package."""
    mpl.rcParams |= {"svg.hashsalt": "lightning_clip", "svg.fonttype": "none", "font.size": 9}
    ours = "lightning_clip."
    classes = {name: cls for name, cls in strategy_classes().items() if cls.__module__.startswith(ours)}
    del classes["NoClip"], classes["Shadow"]  # they act on nothing
    strategies = [WITH_ARGUMENTS.get(name) or cls() for name, cls in classes.items()]
    FOLDER.mkdir(parents=True, exist_ok=True)
    for strategy, records in zip(strategies, run(strategies), strict=True):
        name, label = type(strategy).__name__, strategy.label
        title = label if label.startswith(name) else f"{name}, at its end {label}"
        figure = draw(title, records, LIMITED.get(name, "limit"))
        save_svg(figure, FOLDER / f"{type(strategy).__module__.rpartition('.')[2]}.svg")


if __name__ == "__main__":
    main()
