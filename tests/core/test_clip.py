import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from lightning_clip import (
    Action,
    ClipStrategy,
    Gradients,
    Keep,
    NoClip,
    NormClip,
    PerParameterNormClip,
    ValueClip,
    clip_,
)
from lightning_clip.core import Skip, StepBuffer, StepRecord, Zero
from tests.contract.discovered import concrete_strategies
from tests.support.scripted import feed, parameters, scripted_steps, scripted_weights


class Answer(ClipStrategy):
    """Always returns the same action."""

    def __init__(self, action: Action) -> None:
        super().__init__()
        self.action = action

    def decide(self, grads: Gradients) -> Action:
        return self.action


def gradients(scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Gradients:
    rng = np.random.default_rng(0)
    params = []
    for shape in ((4, 3), (5,)):
        params.append(nn.Parameter(torch.zeros(shape, dtype=dtype)))
        params[-1].grad = torch.tensor(scale * rng.standard_normal(shape), dtype=dtype)
    return Gradients(["weight", "bias"], params, step=3)


def clipped(grads: Gradients, strategy: ClipStrategy) -> tuple[StepRecord, float]:
    """Return the record, and the total norm of the gradients that are really left."""
    buffer = StepBuffer()
    buffer.add(clip_(grads, strategy))
    left = [param.grad.double().flatten() for param in grads.params if param.grad is not None]
    return buffer.flush()[0], float(torch.cat(left).norm()) if left else 0.0


STRATEGIES = {
    "scale": NormClip(1.0),
    "scale each": PerParameterNormClip(0.7),
    "clamp": ValueClip(0.3),
    "keep": NoClip(),
    "skip": Answer(Skip(torch.tensor(True))),
    "zero": Answer(Zero(torch.tensor(True))),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", STRATEGIES)
def test_the_record_says_what_happened(name, dtype):
    """The norms before and after, and the factor between them, match the gradients of the parameters."""
    grads = gradients(dtype=dtype)
    before = float(torch.cat([p.grad.double().flatten() for p in grads.params]).norm())
    record, after = clipped(grads, STRATEGIES[name])
    assert record.step == 3
    assert record.strategy == STRATEGIES[name].label
    assert record.norm_before == pytest.approx(before, rel=1e-6)
    assert record.norm_after == pytest.approx(after, rel=1e-6)
    assert record.clip_coef == pytest.approx(1.0 if name == "skip" else after / before, rel=1e-6)
    assert record.clipped == (name not in ("keep", "skip"))
    assert record.skipped == (name == "skip")
    assert record.finite


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (NormClip(1.0), [True, True]),
        (PerParameterNormClip(2.6), [False, True]),
        (ValueClip(1.31), [False, True]),
        (NoClip(), [False, False]),
        (Answer(Skip(torch.tensor(True))), [False, False]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_clipping_is_recorded_parameter_by_parameter(strategy, expected):
    """The record says which gradients became smaller; a skip makes none smaller."""
    record, _ = clipped(gradients(), strategy)
    assert record.params.names == ("weight", "bias")
    assert record.params.clipped.tolist() == expected


def test_a_limit_that_is_not_exceeded_is_recorded():
    """The record has the limit, nothing clipped, and a factor of 1."""
    record, _ = clipped(gradients(), NormClip(100.0))
    assert (record.threshold, record.clipped, record.clip_coef) == (100.0, False, 1.0)


@pytest.mark.parametrize("strategy", [NormClip(1e9), NoClip(), Answer(Keep(2.0))], ids=["NormClip", "NoClip", "Keep"])
def test_a_factor_of_one_is_a_number_and_writes_nothing(strategy):
    """Where nothing has to be done, no tensor is made, no gradient is written, and norms need not be measured again."""
    grads = gradients()
    versions = [tensor._version for tensor in grads.tensors]
    step = clip_(grads, strategy)
    assert step.coefs == 1.0
    assert isinstance(step.coefs, float)
    assert not step.changed
    assert [tensor._version for tensor in grads.tensors] == versions
    assert clip_(grads, NormClip(0.1)).changed


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("strategy", [NormClip(1.0), PerParameterNormClip(1.0), ValueClip(1.0)], ids=repr)
def test_a_non_finite_norm_is_recorded(strategy, bad):
    """The record does not count the step as clipped."""
    grads = gradients()
    grads.tensors[0][0, 0] = bad
    record, _ = clipped(grads, strategy)
    assert not record.finite
    assert not record.clipped
    assert record.clip_coef == 1.0


def test_a_gradient_of_zero_is_not_clipped():
    """Zero divided by zero does not become the factor."""
    record, _ = clipped(gradients(0.0), NormClip(1.0))
    assert (record.norm_before, record.norm_after, record.clip_coef, record.clipped) == (0.0, 0.0, 1.0, False)


def test_a_decision_runs_without_autograd():
    """Deciding and applying record nothing for the backward pass."""
    grads = gradients()
    strategy = Answer(Keep())
    strategy.decide = lambda grads: Keep(torch.tensor(float(torch.is_grad_enabled())))
    assert float(clip_(grads, strategy).threshold) == 0.0


def test_the_pending_step_stays_on_the_device():
    """Everything runs on the meta device, where a read raises, including effects that are measured."""
    params = [nn.Parameter(torch.zeros(3, device="meta"))]
    params[0].grad = torch.empty(3, device="meta")
    for strategy in (NormClip(), PerParameterNormClip(), ValueClip()):
        step = clip_(Gradients(["w"], params), strategy)
        assert step.norm_before.device.type == "meta"


def test_the_position_of_the_optimizer_is_kept():
    """The pending step has the index passed to `clip_`."""
    assert clip_(gradients(), NoClip(), optimizer_index=2).optimizer == 2


@pytest.mark.parametrize("cls", concrete_strategies(), ids=lambda cls: cls.__name__)
def test_a_pending_step_keeps_its_numbers(cls):
    """A strategy that learns further does not change what it returned earlier: a late read gives the same numbers."""
    params, strategy, waiting, at_once = parameters(scripted_weights()), cls(), StepBuffer(), []
    optimizer = torch.optim.Adam(params.values())
    sum(param.sum() for param in params.values()).backward()
    optimizer.step()  # some strategies read its state
    for step, grads in enumerate(scripted_steps(100)):
        waiting.add(feed(strategy, params, grads, step=step, optimizer=optimizer))
        reader = StepBuffer()
        reader.add(copy.deepcopy(waiting.pending[-1]))
        at_once += reader.flush()
    late = waiting.flush()
    for name in ("norm_before", "norm_after", "threshold", "clip_coef", "clipped", "skipped", "watched"):
        assert [getattr(record, name) for record in late] == [getattr(record, name) for record in at_once], name
