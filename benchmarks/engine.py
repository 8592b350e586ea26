"""Measure, decide, apply and record, compared with torch's own clipping: `python benchmarks/engine.py`."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import torch
from measuring import Table, duration, in_turn, median, ratio, spread, verdict
from parameter_sets import PARAMETER_SETS, with_gradients
from torch import nn
from torch.nn.utils import clip_grad_norm_

from lightning_clip import Gradients, NormClip, clip_
from lightning_clip.core import StepBuffer
from lightning_clip.core.names import parameter_names

FLUSH = 50
NORM = 100.0
TARGETS = {
    ("mlp", "acts"): 1.6,
    ("lstm", "acts"): 1.02,
    ("many", "acts"): 1.05,
    ("lstm", "does not act"): 0.55,
}
NOTES = (
    "Ours is `clip_(Gradients.of_optimizer(…), NormClip(c))` into a `StepBuffer` that is flushed every 50 steps. "
    "Theirs is `torch.nn.utils.clip_grad_norm_(…, foreach=True)`, which records nothing. The two alternate step "
    "by step and swap order. A round is 50 steps (10 for `lstm`), flushes included. Before each step, untimed, the "
    "gradients are rescaled to a norm of 100.",
    "On `lstm` the floor is memory bandwidth: 79 MB of gradients are read for the norm, and read and written again if "
    "clipping acts. If it does not act, ours only reads, and the ratio cannot fall below a third of what torch moves "
    "plus its arithmetic. On `mlp` memory does not matter: the time is the number of calls into torch.",
    "The norm of each parameter is always recorded and is included in all figures above the last rows. The last rows "
    "compare with an engine that drops these norms before they are read.",
)


def ours(
    optimizer: torch.optim.Optimizer, module: nn.Module, limit: float, *, norms: bool = True
) -> Callable[[], None]:
    """Return a function that makes and records one step of the engine."""
    names, strategy, buffer, nothing = parameter_names(module), NormClip(limit), StepBuffer(), torch.empty(0)
    numbers = count()

    def step() -> None:
        pending = clip_(Gradients.of_optimizer(optimizer, names, step=next(numbers)), strategy)
        buffer.add(pending if norms else replace(pending, param_norms=nothing, names=()))
        if len(buffer) == FLUSH:
            buffer.flush()

    return step


def measure(*, rounds: int = 15, steps: int = FLUSH) -> Table:
    """Return the table.

    Args:
        rounds: The number of timings of each side.
        steps: Optimizer steps per timing.
    """
    table = Table("Engine", ("parameters", "clipping", "ours", "torch", "ours / torch", "target"), notes=NOTES)
    extra: list[tuple[str, float]] = []
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

        for limit, clipping in ((1.0, "acts"), (1e9, "does not act")):
            times = in_turn(
                {
                    "ours": ours(optimizer, module, limit),
                    "torch": lambda params=params, limit=limit: clip_grad_norm_(params, limit, foreach=True),
                },
                rounds=rounds,
                steps=length,
                before=back_to_norm,
            )
            value, target = ratio(times, "ours", "torch"), TARGETS.get((name, clipping))
            shown = duration(median(times["ours"])), duration(median(times["torch"]))
            table.add(
                name,
                clipping,
                *shown,
                f"{value:.2f} [{spread(times, 'ours', 'torch')}]",
                verdict(value, at_most=target) if target else "",
            )
        both = {"with": ours(optimizer, module, 1e9), "without": ours(optimizer, module, 1e9, norms=False)}
        extra.append((name, ratio(in_turn(both, rounds=rounds, steps=length), "with", "without")))
    for name, value in extra:
        table.add(name, "norm of each parameter: with / without", "", "", f"{value:.2f}", verdict(value, at_most=1.05))
    return table


if __name__ == "__main__":
    torch.set_num_threads(1)
    measure().show()
