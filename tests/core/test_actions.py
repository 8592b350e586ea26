import math

import pytest
import torch
from torch import nn

from lightning_clip import Action, Clamp, Gradients, Keep, Scale, ScaleEach
from lightning_clip.core import Multiply, Replace, Sequential, Skip, Zero

VALUES = {"a": [3.0, -4.0], "b": [1.0]}


def gradients(values: dict[str, list[float]] = VALUES, device: str = "cpu") -> Gradients:
    params = []
    for grad in values.values():
        params.append(nn.Parameter(torch.zeros(len(grad), device=device)))
        params[-1].grad = torch.tensor(grad, device=device)
    return Gradients(list(values), params)


def left_by(action: Action, grads: Gradients | None = None) -> list[list[float]]:
    grads = grads or gradients()
    action.apply_(grads)
    return [param.grad.tolist() for param in grads.params]


def test_keep_leaves_everything():
    """It changes nothing; its factor is 1, and the limit is kept for the record."""
    action = Keep(2.0)
    assert left_by(action) == [[3.0, -4.0], [1.0]]
    assert (float(action.coefs), action.threshold) == (1.0, 2.0)


def test_scale_multiplies_all_by_one_factor():
    """It keeps direction and proportions."""
    assert left_by(Scale(torch.tensor(0.5))) == [[1.5, -2.0], [0.5]]


def test_scale_each_multiplies_each_gradient_by_its_own_factor():
    """Factors are in the order of the gradients."""
    assert left_by(ScaleEach(torch.tensor([0.5, 1.0]))) == [[1.5, -2.0], [1.0]]


def test_multiply_broadcasts_to_each_gradient():
    """Factors are per element or per unit; `None` leaves a gradient unchanged."""
    assert left_by(Multiply([torch.tensor([0.5, 1.0]), None])) == [[1.5, -4.0], [1.0]]
    assert left_by(Multiply([torch.tensor([2.0]), torch.tensor(0.0)])) == [[6.0, -8.0], [0.0]]


def test_replace_writes_values():
    """It writes in place; `None` leaves a gradient unchanged."""
    grads = gradients()
    storage = grads.params[0].grad.data_ptr()
    assert left_by(Replace([torch.tensor([7.0, 8.0]), None]), grads) == [[7.0, 8.0], [1.0]]
    assert grads.params[0].grad.data_ptr() == storage


def test_clamp_limits_every_element():
    """It limits both signs, and its effect has to be measured."""
    action = Clamp(2.0, torch.tensor(4.0))
    assert left_by(action) == [[2.0, -2.0], [1.0]]
    assert action.coefs is None
    assert action.threshold == 2.0


@pytest.mark.parametrize("peak", [math.nan, math.inf])
def test_clamp_acts_on_non_finite_gradients(peak):
    """It limits an infinite element and leaves NaN."""
    left = left_by(Clamp(2.0, torch.tensor(peak)), gradients({"a": [math.inf, math.nan], "b": [5.0]}))
    assert left[0][0] == left[1][0] == 2.0
    assert math.isnan(left[0][1])


def test_zero_acts_where_the_condition_holds():
    """Gradients still exist, and are zero."""
    assert left_by(Zero(torch.tensor(True))) == [[0.0, 0.0], [0.0]]
    assert left_by(Zero(torch.tensor(False))) == [[3.0, -4.0], [1.0]]


def test_zero_removes_non_finite_elements():
    """It fills elements instead of multiplying them: zero times infinity would be NaN."""
    assert left_by(Zero(torch.tensor(True)), gradients({"a": [math.nan, math.inf]})) == [[0.0, 0.0]]


@pytest.mark.parametrize("skips", [True, False])
def test_skip_removes_the_gradients(skips):
    """Without gradients, an optimizer changes neither parameters nor its state."""
    grads = gradients()
    optimizer = torch.optim.AdamW(grads.params, lr=0.1, weight_decay=0.1)
    for param in grads.params:
        param.data.fill_(1.0)
    Skip(torch.tensor(skips)).apply_(grads)
    optimizer.step()
    assert all((param.grad is None) == skips for param in grads.params)
    assert all(bool((param == 1.0).all()) == skips for param in grads.params)
    assert (len(optimizer.state) == 0) == skips


NEUTRAL = {
    "keep": Keep(),
    "scale": Scale(torch.tensor(1.0)),
    "scale each": ScaleEach(torch.tensor([1.0, 1.0])),
    "multiply": Multiply([torch.tensor([1.0, 1.0]), None]),
    "replace": Replace([None, None]),
    "clamp": Clamp(4.0, torch.tensor(4.0)),
    "zero": Zero(torch.tensor(False)),
    "skip": Skip(torch.tensor(False)),
    "sequential": Sequential([Scale(torch.tensor(1.0)), Clamp(4.0, torch.tensor(4.0))]),
}


@pytest.mark.parametrize("name", NEUTRAL)
def test_an_action_without_effect_does_not_touch_memory(name):
    """On the CPU it writes no element: the version of each tensor stays the same."""
    grads = gradients()
    before = [tensor._version for tensor in grads.tensors]
    NEUTRAL[name].apply_(grads)
    assert [tensor._version for tensor in grads.tensors] == before


def test_only_the_gradients_that_change_are_touched():
    """`ScaleEach` skips gradients whose factor is 1."""
    grads = gradients()
    ScaleEach(torch.tensor([0.5, 1.0])).apply_(grads)
    assert [tensor._version for tensor in grads.tensors] == [1, 0]


def test_no_gradients_at_all_are_legal():
    """Each action accepts an empty set of gradients."""
    empty = Gradients([], [])
    scalar, none = torch.tensor(0.5), torch.zeros(0)
    for action in (
        Keep(),
        Scale(scalar),
        ScaleEach(none),
        Multiply([]),
        Replace([]),
        Clamp(1.0, torch.tensor(2.0)),
        Zero(torch.tensor(True)),
        Skip(torch.tensor(True)),
        Sequential([Scale(scalar), ScaleEach(none)]),
    ):
        action.apply_(empty)
        assert len(action.preview(empty)) == 0


def test_sequential_applies_in_order():
    """A clamp after a scale differs from a scale after a clamp."""
    scale, clamp = Scale(torch.tensor(0.5)), Clamp(1.0, torch.tensor(4.0))
    assert left_by(Sequential([scale, clamp])) == [[1.0, -1.0], [0.5]]
    assert left_by(Sequential([clamp, scale])) == [[0.5, -0.5], [0.5]]


def test_sequential_multiplies_factors():
    """A common factor and factors per gradient multiply; the result is unknown if one effect has to be measured."""
    known = Sequential([Scale(torch.tensor(0.5)), ScaleEach(torch.tensor([0.5, 1.0])), Keep()])
    assert known.coefs.tolist() == [0.25, 0.5]
    assert Sequential([Scale(torch.tensor(0.5)), Clamp(1.0, torch.tensor(4.0))]).coefs is None
    assert float(Sequential([]).coefs) == 1.0


def test_sequential_keeps_float64_factors():
    """The product is not rounded to float32."""
    third = torch.tensor(1 / 3, dtype=torch.float64)
    assert float(Sequential([Keep(), Scale(third)]).coefs) == 1 / 3


def test_sequential_has_the_last_limit_and_every_watched_factor():
    """An action without a limit does not hide the limit of an earlier one."""
    first, last = Scale(torch.tensor(0.5), 3.0), Keep()
    first.watched, last.watched = {"A": torch.tensor(0.5)}, {"B": torch.tensor(0.1)}
    action = Sequential([Keep(5.0), first, last])
    assert action.threshold == 3.0
    assert set(action.watched) == {"A", "B"}
    assert Sequential([Keep()]).threshold is None


@pytest.mark.parametrize("position", [0, 1])
def test_a_skip_in_a_sequence_skips(position):
    """It skips before or after other actions, which run on gradients that nobody will use."""
    actions: list[Action] = [Scale(torch.tensor(0.5)), Clamp(1.0, torch.tensor(4.0))]
    actions.insert(position, Skip(torch.tensor(True)))
    action = Sequential(actions)
    grads = gradients()
    action.apply_(grads)
    assert bool(action.skipped)
    assert all(param.grad is None for param in grads.params)


def test_a_skip_whose_condition_does_not_hold_changes_nothing_in_a_sequence():
    """The other actions apply as usual."""
    assert left_by(Sequential([Skip(torch.tensor(False)), Scale(torch.tensor(0.5))])) == [[1.5, -2.0], [0.5]]


def test_no_action_reads_the_device():
    """All but an exact skip run on the meta device, where a read raises, even mixed with factors on the CPU."""
    scalar, each = torch.tensor(0.5, device="meta"), torch.ones(2, device="meta")
    actions = [
        Keep(),
        Scale(scalar),
        ScaleEach(each),
        Multiply([each, None]),
        Replace([each, None]),
        Clamp(1.0, scalar),
        Zero(scalar > 0),
        Sequential([Scale(scalar), Keep(), ScaleEach(each), Keep(), Clamp(1.0, scalar)]),
        Sequential([Scale(scalar), Keep(), ScaleEach(each), Skip(scalar > 0)]),
    ]
    params = [nn.Parameter(torch.zeros(2, device="meta")), nn.Parameter(torch.zeros(1, device="meta"))]
    for param in params:
        param.grad = torch.empty_like(param)
    grads = Gradients(["a", "b"], params)
    for action in actions:
        preview = action.preview(grads)
        assert preview.total_norm().device.type == "meta"
        assert preview.tensors[0].device.type == "meta"
    for action in actions[:-1]:
        action.apply_(grads)
