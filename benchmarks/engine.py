"""Measure + decide + apply + record, against torch's own clipping: `python benchmarks/engine.py`."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import torch
from measuring import Table, duration, in_turn, median, ratio, verdict
from parameter_sets import PARAMETER_SETS, with_gradients
from torch import nn
from torch.nn.utils import clip_grad_norm_

from lightning_clip import Gradients, NormClip, clip_
from lightning_clip.core import StepBuffer
from lightning_clip.core.names import parameter_names

FLUSH = 50
NORM = 100.0
ASKED = {
    ("mlp", "binds"): 1.5,
    ("lstm", "binds"): 1.10,
    ("many", "binds"): 1.10,
    ("lstm", "does not bind"): 0.65,
}
NOTES = (
    "Ours is `clip_(Gradients.of_optimizer(…), NormClip(c))` into an `StepBuffer` that is read every 50 steps; theirs "
    "is `torch.nn.utils.clip_grad_norm_(…, foreach=True)`, which records nothing. The two take turns step by step; a "
    "time is the mean of 50 steps (10 of `lstm`), flushes among them; the ratio is the median over such rounds. Before "
    "each step, untimed, the gradients are brought back to a norm of 100.",
    "The floor on `lstm` is memory: 79 MB of gradients are read for the norm, and read and written again where the "
    "limit binds; where it does not bind, ours only reads, and the ratio cannot fall below a third of what torch moves "
    "plus its arithmetic. On `mlp` no byte matters: the time is the number of calls into torch.",
    "The norm of each parameter is always recorded, and contained in all figures above the last rows; those compare "
    "with an engine that drops them before they are read.",
)


def ours(
    optimizer: torch.optim.Optimizer, module: nn.Module, limit: float, *, norms: bool = True
) -> Callable[[], None]:
    """One step of the engine, with the record of it."""
    names, strategy, buffer, nothing = parameter_names(module), NormClip(limit), StepBuffer(), torch.empty(0)
    numbers = count()

    def step() -> None:
        event = clip_(Gradients.of_optimizer(optimizer, names, step=next(numbers)), strategy)
        buffer.add(event if norms else replace(event, param_norms=nothing, names=()))
        if len(buffer) == FLUSH:
            buffer.flush()

    return step


def measure(*, rounds: int = 9, steps: int = FLUSH) -> Table:
    """The table.

    Args:
        rounds: Times taken of each.
        steps: Steps that make one time.
    """
    table = Table("Engine", ("parameters", "clipping", "ours", "torch", "ours / torch", "asked"), notes=NOTES)
    on_top: list[tuple[str, float]] = []
    for name, make in PARAMETER_SETS.items():
        module = with_gradients(make())
        params = list(module.parameters())
        grads = [param.grad for param in params]
        optimizer = torch.optim.SGD(params, lr=0.1)
        length = max(1, steps // 5) if name == "lstm" else steps

        def back_to_norm(grads: list[torch.Tensor] = grads) -> None:
            total = torch.stack(torch._foreach_norm(grads)).norm()
            if not 0.999 * NORM < total < 1.001 * NORM:
                torch._foreach_mul_(grads, NORM / total)

        for limit, clipping in ((1.0, "binds"), (1e9, "does not bind")):
            times = in_turn(
                {
                    "ours": ours(optimizer, module, limit),
                    "torch": lambda params=params, limit=limit: clip_grad_norm_(params, limit, foreach=True),
                },
                rounds=rounds,
                steps=length,
                before=back_to_norm,
            )
            value, asked = ratio(times, "ours", "torch"), ASKED.get((name, clipping))
            shown = duration(median(times["ours"])), duration(median(times["torch"]))
            table.add(name, clipping, *shown, f"{value:.2f}", verdict(value, at_most=asked) if asked else "")
        both = {"with": ours(optimizer, module, 1e9), "without": ours(optimizer, module, 1e9, norms=False)}
        on_top.append((name, ratio(in_turn(both, rounds=rounds, steps=length), "with", "without")))
    for name, value in on_top:
        table.add(name, "norm of each parameter: with / without", "", "", f"{value:.2f}", verdict(value, at_most=1.05))
    return table


if __name__ == "__main__":
    torch.set_num_threads(1)
    measure().show()
