"""`scaled_learning_rate`: a learning rate that is scaled for one step."""

import pytest
import torch

from lightning_clip.modules.tbptt.step_scaling import scaled_learning_rate


def test_a_step_is_as_long_as_the_factor_says():
    """The factor applies to the learning rates of all parameter groups."""
    first, second = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    sgd = torch.optim.SGD([{"params": [first], "lr": 1.0}, {"params": [second], "lr": 10.0}])
    first.grad, second.grad = torch.ones(1), torch.ones(1)
    with scaled_learning_rate(sgd, 0.25):
        sgd.step()
    assert (first.item(), second.item()) == (-0.25, -2.5)
    assert [group["lr"] for group in sgd.param_groups] == [1.0, 10.0]


def test_a_failing_step_leaves_the_rate_as_it_was():
    """After an error, the learning rate is restored; a tensor is restored as the same object."""
    rate = torch.tensor(0.5)
    adam = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=rate)
    seen = []

    def fail():
        seen.append(float(adam.param_groups[0]["lr"]))
        raise ArithmeticError

    with pytest.raises(ArithmeticError), scaled_learning_rate(adam, 2.0):
        fail()
    assert seen == [1.0]
    assert adam.param_groups[0]["lr"] is rate
    assert rate == 0.5
