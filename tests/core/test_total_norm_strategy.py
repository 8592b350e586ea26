import copy
import math

import pytest
import torch

from lightning_clip.core.total_norm_strategy import TotalNormStrategy
from tests.contract.discovered import concrete_strategies
from tests.support.scripted import feed, parameters, scripted_steps, scripted_weights

RULES = [cls for cls in concrete_strategies() if issubclass(cls, TotalNormStrategy)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("cls", RULES, ids=lambda cls: cls.__name__)
def test_a_rule_decides_the_same_with_tensors_as_with_numbers(cls, dtype, monkeypatch):
    """What runs on an accelerator is the formula that runs on the CPU, to the rounding of a few operations."""
    numbers, tensors = cls(), cls()
    params = parameters(scripted_weights(), dtype)
    for step, grads in enumerate(scripted_steps(160)):
        found = feed(numbers, params, grads, step=step)
        with monkeypatch.context() as patch:
            patch.setattr(torch.compiler, "is_compiling", lambda: True)
            expected = feed(tensors, params, grads, step=step)
        assert math.isclose(float(found.coefs), float(expected.coefs), rel_tol=1e-5), step
        assert math.isclose(float(found.threshold), float(expected.threshold), rel_tol=1e-5), step
    for name, buffer in tensors.state_dict().items():
        torch.testing.assert_close(numbers.state_dict()[name], buffer, rtol=1e-5, atol=0, equal_nan=True)


@pytest.mark.parametrize("cls", RULES, ids=lambda cls: cls.__name__)
def test_a_copy_in_the_middle_of_a_run_shares_no_memory(cls):
    """The numbers of a rule live in its buffers, and those of a copy in the buffers of the copy."""
    strategy = cls()
    params = parameters(scripted_weights())
    steps = list(scripted_steps(40))
    for step, grads in enumerate(steps[:20]):
        feed(strategy, params, grads, step=step)
    other = copy.deepcopy(strategy)
    before = {name: buffer.clone() for name, buffer in strategy.state_dict().items()}
    for step, grads in enumerate(steps[20:], start=20):
        feed(other, params, grads, step=step)
    for name, buffer in strategy.state_dict().items():
        assert torch.equal(buffer.nan_to_num(-1.0), before[name].nan_to_num(-1.0)), name
    for step, grads in enumerate(steps[20:], start=20):
        feed(strategy, params, grads, step=step)
    for name, buffer in other.state_dict().items():
        assert torch.equal(strategy.state_dict()[name].nan_to_num(-1.0), buffer.nan_to_num(-1.0)), name
