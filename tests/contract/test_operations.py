"""What a step costs, in operations of torch: a count that no other program on the machine can disturb."""

from functools import cache

import pytest
import torch
from torch import nn

import lightning_clip as lc
from lightning_clip import ClipStrategy, Gradients, clip_
from lightning_clip.core.total_norm_strategy import TotalNormStrategy
from tests.contract.discovered import concrete_strategies
from tests.support.operations import Operations

SHAPES = ((6, 4), (6,), (4, 6), (3, 2, 2, 2), ())  # the same kinds of tensors, in the same shares, at any number
VARIANTS = {
    # The CPU stops when an iteration changes nothing, which depends on the values; these few are always made.
    "AdaptiveSpectralClip": lambda: lc.AdaptiveSpectralClip(iterations=4),
    "SpikeClip of the optimizer": lambda: lc.SpikeClip(source="optimizer", warmup_steps=1),
    "SpikeClip that stores all": lambda: lc.SpikeClip(history="observed"),
    "AdaGC of the paper": lambda: lc.AdaGC(paper=True),
    "GroupNormClip of two groups": lambda: lc.GroupNormClip({"p1*": 0.1, "*": 0.2}),
    "NormClip by the largest element": lambda: lc.NormClip(0.1, norm_type=float("inf")),
    "Chain": lambda: lc.Chain([lc.ValueClip(0.1), lc.AGC(), lc.NormClip(0.1)]),
    "Tightest": lambda: lc.Tightest([lc.NormClip(0.1), lc.CoordinateClip(), lc.SkipSpikes()]),
    "Shadow": lambda: lc.Shadow(lc.NormClip(0.1), watched=[lc.SpikeClip(), lc.AGC(), lc.ValueClip(0.1)]),
}
EVERY = {cls.__name__: cls for cls in concrete_strategies()} | VARIANTS


def operations(strategy: ClipStrategy, tensors: int, *, steps: int = 4, spike: float = 100.0) -> Operations:
    """The operations of a later step, in which clipping acts."""
    generator = torch.Generator().manual_seed(0)
    params = [nn.Parameter(torch.randn(SHAPES[i % len(SHAPES)], generator=generator)) for i in range(tensors)]
    optimizer = torch.optim.Adam(params)
    names = [f"p{i}" for i in range(tensors)]
    counted = Operations()
    for step in range(steps):
        size = spike if step == steps - 1 else 1.0
        for param in params:
            param.grad = size * torch.randn(param.shape, generator=generator)
        grads = Gradients(names, params, step=step, optimizer=optimizer)
        if step < steps - 1:
            clip_(grads, strategy)
            optimizer.step()
            continue
        with counted:
            clip_(grads, strategy)
    return counted


@cache
def of_torch(tensors: int) -> int:
    params = [nn.Parameter(torch.randn(3)) for _ in range(tensors)]
    for param in params:
        param.grad = torch.randn(3)
    with Operations() as counted:
        nn.utils.clip_grad_norm_(params, 0.1)
    return counted.total


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_the_number_of_operations_does_not_depend_on_the_number_of_tensors(make):
    """20 and 100 tensors take the same operations, each for all tensors at once."""
    few, many = operations(make(), 20), operations(make(), 100)
    grown = {name: (few.counts[name], many.counts[name]) for name in many.counts - few.counts}
    assert many.total == few.total, grown


@pytest.mark.parametrize("make", [lc.NormClip, lc.SpikeClip, lc.AGC], ids=lambda cls: cls.__name__)
def test_many_tensors_of_the_same_shape_take_as_many_operations_as_twice_as_many(make):
    """From some number on, tensors of the same shape are stacked and measured together."""
    few, many = operations(make(), 200, steps=2), operations(make(), 400, steps=2)
    assert many.total == few.total


@pytest.mark.parametrize("cls", [cls for cls in concrete_strategies() if issubclass(cls, TotalNormStrategy)])
def test_a_rule_on_the_total_norm_needs_no_more_operations_than_torch(cls):
    """It decides with numbers; only the norms and the product are operations, and reading the norm."""
    assert operations(cls(), 20).total <= of_torch(20) + 2  # a skip is a second action
