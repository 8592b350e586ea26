"""Batches that are NaN, infinite or huge: where a step is skipped, it is as if the batch had not been there."""

from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import lightning.pytorch as pl
import pytest
from torch import Tensor

from lightning_clip import (
    AutoClip,
    DivergenceRollback,
    GradientClipping,
    GradientMonitor,
    NonFiniteGuard,
    SkipSpikes,
    ValueClip,
)
from lightning_clip.core import SpikeDetector
from tests.support.poisoned import BATCHES, MODES, POISONS, batches, fit
from tests.support.values import assert_same_values

NON_FINITE = {"nan", "inf", "nan target", "one nan"}
EVERY = {*NON_FINITE, "huge"}


def rollback() -> DivergenceRollback:
    return DivergenceRollback(
        snapshot_every_n_steps=1, patience=1, max_restores=10, detector=SpikeDetector(warmup_steps=4)
    )


# The callbacks, and the poisons of which they promise to leave no trace.
POLICIES: dict[str, tuple[Callable[[], list[pl.Callback]], set[str]]] = {
    "guard": (lambda: [NonFiniteGuard()], NON_FINITE),
    "guard, clipping": (lambda: [NonFiniteGuard(), GradientClipping(AutoClip(50, window=8))], NON_FINITE),
    "clipping, guard": (lambda: [GradientClipping(AutoClip(50, window=8)), NonFiniteGuard()], NON_FINITE),
    "value clipping, guard": (lambda: [GradientClipping(ValueClip(0.1)), NonFiniteGuard()], NON_FINITE),
    "skip spikes": (lambda: [GradientClipping(SkipSpikes(50.0, window=8, max_fraction=1.0))], {"huge"}),
    "skip spikes, guard": (
        lambda: [GradientClipping(SkipSpikes(50.0, window=8, max_fraction=1.0)), NonFiniteGuard()],
        EVERY,
    ),
    "rollback": (lambda: [rollback()], EVERY),
    "rollback, guard, monitor": (lambda: [rollback(), NonFiniteGuard(), GradientMonitor()], EVERY),
}
POSITIONS = (9, BATCHES - 1)
KINDS = ("adamw", "sgd")


def cells() -> list[Any]:
    """Every combination; the short form has every other policy in each mode, at one position and optimizer, in turn."""
    chosen = []
    for n, (mode, (policy, (_, promised))) in enumerate(product(MODES, POLICIES.items())):
        in_turn = (n // len(POLICIES) + n) % 2 == 0
        for m, (poison, position, kind) in enumerate(product(sorted(promised), POSITIONS, KINDS)):
            is_short = in_turn and m == (7 * n) % (4 * len(promised))
            chosen.append(
                pytest.param(mode, policy, poison, position, kind, marks=() if is_short else pytest.mark.slow)
            )
    return chosen


def window(mode: str, position: int) -> range:
    """The batches of the step to which a batch belongs."""
    start = position - position % 2
    return range(start, start + 2) if mode == "accumulation" else range(position, position + 1)


def trace_of(net: pl.LightningModule, trainer: pl.Trainer, poison: str) -> dict[str, Any]:
    """Everything that a batch may leave behind: parameters, buffers that its inputs poisoned, optimizer states."""
    buffers = dict(net.named_buffers()) if poison in ("nan", "inf") else {}
    kept: dict[str, Tensor] = {name: buffer for name, buffer in buffers.items() if buffer.is_floating_point()}
    return {
        "parameters": dict(net.named_parameters()),
        "buffers": kept,
        "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
    }


@cache
def without(mode: str, policy: str, kind: str, left_out: range) -> tuple[pl.LightningModule, pl.Trainer]:
    """The same run on the other batches."""
    data = [batch for n, batch in enumerate(batches(mode)) if n not in left_out]
    return fit(mode, kind, data, POLICIES[policy][0]())


@pytest.mark.parametrize(("mode", "policy", "poison", "position", "kind"), cells())
@pytest.mark.filterwarnings("ignore:DivergenceRollback. step")
def test_a_skipped_batch_leaves_no_trace(mode, policy, poison, position, kind):
    """Parameters, optimizer states and poisoned buffers are those of a run on the other batches, bit for bit."""
    data = batches(mode)
    data[position] = POISONS[poison](data[position])
    net, trainer = fit(mode, kind, data, POLICIES[policy][0]())
    expected = without(mode, policy, kind, window(mode, position))
    assert_same_values(trace_of(net, trainer, poison), trace_of(*expected, poison), equal_nan=False)
    assert all(buffer.isfinite().all() for buffer in net.buffers())


@pytest.mark.parametrize("mode", MODES)
def test_without_a_policy_a_poisoned_batch_is_the_end(mode):
    """What the cells above are worth: the same batch without them ruins the weights."""
    data = batches(mode)
    data[9] = POISONS["nan"](data[9])
    net, _ = fit(mode, "adamw", data, [GradientMonitor()])
    assert not all(value.isfinite().all() for value in net.parameters())
