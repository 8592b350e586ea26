import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from lightning_clip import (
    Chain,
    ClipStrategy,
    Gradients,
    NormClip,
    PerParameterNormClip,
    ThresholdSchedule,
    ValueClip,
    clip_,
)
from lightning_clip.strategies.threshold_schedule import lr_fraction
from tests.references.composites import norm_rule
from tests.support.scripted import feed, parameters, scripted_steps, scripted_weights


def at(step: int, optimizer: torch.optim.Optimizer | None = None) -> Gradients:
    param = nn.Parameter(torch.zeros(4))
    param.grad = torch.full((4,), 50.0)
    return Gradients(["w"], [param], step=step, optimizer=optimizer)


def factors_at(moments: list[int], **arguments: object) -> list[float]:
    schedule = ThresholdSchedule(**arguments)
    return [schedule.factor(at(step)) for step in moments]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_limit_is_multiplied_by_the_factor_of_the_step(dtype):
    """At every step, the result is that of the strategy with a limit of c · f(k)."""
    tolerance = 1e-9 if dtype == torch.float64 else 1e-5
    strategy = ThresholdSchedule(NormClip(2.0, eps=0.0), shape="cosine", start=1.0, end=0.01, steps=100)
    params = parameters(scripted_weights(), dtype)
    for step, grads in enumerate(scripted_steps(120)):
        feed(strategy, params, grads, step=step)
        factor = 0.01 + 0.99 * (1 + math.cos(math.pi * min(step, 100) / 100)) / 2
        for name, value in norm_rule(2.0 * factor)(grads, {}).items():
            np.testing.assert_allclose(params[name].grad.double().numpy(), value, rtol=tolerance, atol=tolerance)


SHAPES = {
    "constant": [4.0, 4.0, 4.0, 1.0, 1.0],
    "linear": [4.0, 3.25, 2.5, 1.0, 1.0],
    "cosine": [4.0, 2.5 + 1.5 * math.sqrt(0.5), 2.5, 1.0, 1.0],
    "exponential": [4.0, 4.0 / math.sqrt(2), 2.0, 1.0, 1.0],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_goes_from_start_to_end_in_the_given_steps(shape):
    """The factor is right at the start, a quarter, halfway, the end, and far beyond it."""
    actual = factors_at([0, 10, 20, 40, 4000], shape=shape, start=4.0, end=1.0, steps=40)
    assert actual == pytest.approx(SHAPES[shape])


def test_a_function_of_the_step_is_a_shape():
    """The function receives the number of completed steps."""
    assert factors_at([0, 3], shape=lambda k: 1 + k) == [1.0, 4.0]


@pytest.mark.parametrize(
    ("strategy", "limit"), [(NormClip(2.0), 1.0), (ValueClip(2.0), 1.0), (PerParameterNormClip(2.0), 1.0)]
)
def test_every_strategy_with_one_limit_can_be_scheduled(strategy, limit):
    """The record holds the limit in force, and the strategy itself is unchanged."""
    printed = repr(strategy)
    schedule = ThresholdSchedule(strategy, shape="linear", start=1.0, end=0.5, steps=10)
    assert clip_(at(10), schedule).threshold == limit
    assert repr(strategy) == printed
    assert repr(schedule).startswith(f"ThresholdSchedule(strategy={printed}, shape='linear'")


def test_the_strategy_is_left_as_it_was_when_it_fails():
    """An error in the wrapped strategy does not leave the moved limit behind."""

    class Fails(ClipStrategy):
        scheduled_arg = "limit"

        def __init__(self) -> None:
            super().__init__()
            self.limit = 3.0

        def decide(self, grads: Gradients) -> None:
            raise RuntimeError(str(self.limit))

    strategy = Fails()
    with pytest.raises(RuntimeError, match=r"1\.5"):
        ThresholdSchedule(strategy, shape="constant", start=0.5).decide(at(0))
    assert strategy.limit == 3.0


def test_the_step_alone_decides():
    """A fresh copy has the same limit, so there is nothing to resume."""
    schedule = ThresholdSchedule(NormClip(2.0), steps=10)
    fresh = copy.deepcopy(schedule)
    for step in range(7):
        clip_(at(step), schedule)
    assert clip_(at(7), schedule).threshold == clip_(at(7), fresh).threshold
    assert not schedule.state_dict()


def test_follow_lr_is_the_learning_rate_as_a_fraction_of_its_peak():
    """The limit follows the warmup and decay of the learning rate."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.2)
    scheduler = LambdaLR(optimizer, lambda epoch: [0.25, 1.0, 0.5][epoch])
    schedule = ThresholdSchedule(NormClip(2.0), shape="follow_lr")
    limits = []
    for _ in range(3):
        limits.append(clip_(at(0, optimizer), schedule).threshold)
        optimizer.step()
        if len(limits) < 3:
            scheduler.step()
    assert limits == pytest.approx([0.5, 2.0, 1.0])


def test_the_peak_of_one_cycle_is_known():
    """`OneCycleLR` starts below the peak and stores where it is."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.2, momentum=0.9)
    OneCycleLR(optimizer, max_lr=1.0, total_steps=10, div_factor=4.0)
    assert lr_fraction(optimizer) == pytest.approx(0.25)


def test_the_fraction_of_several_groups_is_that_of_the_largest_rates():
    """Groups with different rates and one schedule give the fraction of that schedule."""
    params = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": params[:1], "lr": 1.0}, {"params": params[1:], "lr": 0.1}])
    LambdaLR(optimizer, lambda epoch: 0.3)
    assert lr_fraction(optimizer) == pytest.approx(0.3)


def test_the_fraction_is_at_most_one_and_one_without_a_scheduler():
    """A rate above the initial one does not loosen the limit, and zero rates do not divide by zero."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    assert lr_fraction(optimizer) == 1.0
    optimizer.param_groups[0].update(initial_lr=0.1, lr=0.4)
    assert lr_fraction(optimizer) == 1.0
    optimizer.param_groups[0].update(initial_lr=0.0, lr=0.0)
    assert lr_fraction(optimizer) == 1.0


def test_the_label_names_strategy_and_shape():
    """This also works for a function."""
    assert ThresholdSchedule(NormClip(2.0)).label == "ThresholdSchedule(NormClip(2.0), shape='linear')"
    assert ThresholdSchedule(NormClip(2.0), shape=math.exp).label == "ThresholdSchedule(NormClip(2.0), shape='exp')"


def test_a_strategy_without_a_single_limit_is_refused():
    """The error says what would work."""
    with pytest.raises(
        TypeError, match=r"ThresholdSchedule\(strategy=Chain\(.*must have a single limit.*such as NormClip"
    ):
        ThresholdSchedule(Chain())


def test_bad_arguments():
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=r"ThresholdSchedule\(end=0.0\): end must be a positive number"):
        ThresholdSchedule(end=0.0)
    with pytest.raises(ValueError, match=r"ThresholdSchedule\(steps=0\): steps must be at least 1"):
        ThresholdSchedule(steps=0)
    with pytest.raises(ValueError, match=r"shape must be one of 'constant', .*'follow_lr'"):
        ThresholdSchedule(shape="square")
    with pytest.raises(TypeError, match=r"ThresholdSchedule\(strategy=1.0\): strategy must be a ClipStrategy"):
        ThresholdSchedule(1.0)
    with pytest.raises(ValueError, match=r"the factor at step 3 is -1.0; it must be a number of at least 0"):
        ThresholdSchedule(shape=lambda k: -1.0).decide(at(3))
    with pytest.raises(ValueError, match=r"the factor at step 3 is nan"):
        ThresholdSchedule(shape=lambda k: math.nan).decide(at(3))
    with pytest.raises(ValueError, match=r"have no optimizer; create them with Gradients.of_optimizer"):
        ThresholdSchedule(shape="follow_lr").decide(at(3))
