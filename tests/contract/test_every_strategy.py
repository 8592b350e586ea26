"""The contract that every strategy must meet."""

import copy
import io
import pickle
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

import lightning_clip
from lightning_clip import ClipStrategy, Gradients, Keep, Scale, clip_
from lightning_clip.core import Sequential, Skip
from lightning_clip.core.strategy import ClipStrategy as Base
from tests.contract.discovered import concrete_strategies
from tests.support.scripted import feed, parameters, scripted_steps, scripted_weights
from tests.support.values import assert_close

STRATEGIES = concrete_strategies()
pytestmark = pytest.mark.parametrize("cls", STRATEGIES, ids=lambda cls: cls.__name__)


Left = dict[str, torch.Tensor | None]


def make(cls: type[ClipStrategy], params: dict[str, nn.Parameter]) -> tuple[ClipStrategy, torch.optim.Optimizer]:
    """Return the strategy with its defaults, and an optimizer with the state that some rules read."""
    optimizer = torch.optim.Adam(params.values())
    for param in params.values():
        param.grad = torch.ones_like(param)
    optimizer.step()
    return cls(), optimizer


@cache
def recording(cls: type[ClipStrategy]) -> tuple[list[Left], dict[int, tuple]]:
    """One run of 150 steps: the gradients left after each, and what there was before some of them."""
    params = parameters(scripted_weights())
    strategy, optimizer = make(cls, params)
    left, before = [], {}
    for step, grads in enumerate(scripted_steps(150)):
        if step in (0, 10, 60):
            before[step] = copy.deepcopy((strategy, params, optimizer))
        feed(strategy, params, grads, step=step, optimizer=optimizer)
        left.append(left_over(params))
    return left, before


def run_until(cls: type[ClipStrategy], step: int) -> tuple[ClipStrategy, dict, torch.optim.Optimizer]:
    """The strategy before a step of the recorded run, to go on from."""
    return copy.deepcopy(recording(cls)[1][step])


def left_over(params: dict[str, nn.Parameter]) -> Left:
    return {name: None if p.grad is None else p.grad.clone() for name, p in params.items()}


def assert_same(a: Left, b: Left) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert (a[name] is None) == (b[name] is None), name
        assert a[name] is None or torch.equal(a[name], b[name]), name


def assert_goes_on(
    cls: type[ClipStrategy], strategy: ClipStrategy, params: dict, optimizer: torch.optim.Optimizer, steps: range
) -> None:
    """Assert that some steps leave, bit for bit, what they left in the recorded run."""
    left, given = recording(cls)[0], list(scripted_steps(steps.stop))
    for step in steps:
        feed(strategy, params, given[step], step=step, optimizer=optimizer)
        assert_same(left_over(params), left[step])


def test_it_is_constructible_without_arguments_and_prints_itself(cls):
    """`eval(repr(s))` prints the same."""
    printed = repr(cls())
    names = {name: getattr(lightning_clip, name) for name in lightning_clip.__all__}
    assert repr(eval(printed, names | {"inf": float("inf")})) == printed


def test_it_has_no_parameters_and_is_final(cls):
    """State lives in buffers, and nothing subclasses a concrete strategy."""
    assert not list(cls().parameters())
    assert not [sub for sub in cls.__subclasses__() if sub.__module__.startswith("lightning_clip")]
    assert issubclass(cls, Base)


def test_it_names_its_source(cls):
    """The docstring has an Example and References."""
    assert "References:" in cls.__doc__
    assert "Example:" in cls.__doc__


def test_it_never_amplifies(cls):
    """No gradient grows, except in the family named `Normalize…`."""
    if cls.__name__.startswith("Normalize"):
        pytest.skip("strategies named `Normalize…` always scale to a given norm")
    for step, (grads, left) in enumerate(zip(scripted_steps(150), recording(cls)[0], strict=True)):
        for name, grad in left.items():
            if grad is not None:
                before, after = np.linalg.norm(grads[name]), float(grad.norm())
                assert after <= before * (1 + 1e-12), f"step {step}: {name} grew from {before} to {after}"


def test_a_scale_keeps_the_direction(cls):
    """A `Scale` leaves the gradient times one number."""
    params = parameters(scripted_weights())
    strategy, optimizer = make(cls, params)
    for step, grads in enumerate(scripted_steps(60)):
        for name, param in params.items():
            param.grad = torch.tensor(grads[name]) if name in grads else None
        held = Gradients(list(params), list(params.values()), step=step, optimizer=optimizer)
        action = strategy.decide(held)
        if not isinstance(action, Scale):
            return
        action.apply_(held)
        for name in held.names:
            expected = torch.tensor(grads[name]) * action.coefs
            assert_close(params[name].grad, expected, f"step {step}, {name}", rtol=1e-7, atol=1e-7)


def test_it_works_in_place_in_every_dtype(cls):
    """Storage and dtype are the same before and after."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        params = parameters(scripted_weights(), dtype)
        strategy, optimizer = make(cls, params)
        for step, grads in enumerate(scripted_steps(3)):
            for name, param in params.items():
                param.grad = torch.tensor(grads[name]).to(dtype)
            pointers = [p.grad.data_ptr() for p in params.values()]
            clip_(Gradients(list(params), list(params.values()), step=step, optimizer=optimizer), strategy)
            assert [p.grad.data_ptr() for p in params.values()] == pointers, dtype
            assert all(p.grad.dtype == dtype for p in params.values()), dtype


def test_no_gradients_at_all_pass(cls):
    """A step without any gradient is legal and does not change later decisions."""
    strategy, params, optimizer = run_until(cls, 60)
    other = copy.deepcopy(strategy)
    feed(strategy, params, {}, step=60, optimizer=optimizer)
    grads = list(scripted_steps(62))[61]
    feed(strategy, params, grads, step=61, optimizer=optimizer)
    ours = left_over(params)
    feed(other, params, grads, step=61, optimizer=optimizer)
    assert_same(ours, left_over(params))


def test_empty_tensors_pass(cls):
    """A parameter without elements is legal."""
    params = {"empty": nn.Parameter(torch.zeros(0, 3)), "full": nn.Parameter(torch.ones(2, 3))}
    strategy, optimizer = make(cls, params)
    feed(strategy, params, {"empty": np.zeros((0, 3)), "full": np.ones((2, 3))}, optimizer=optimizer)
    assert torch.isfinite(params["full"].grad).all()


@pytest.mark.parametrize(
    ("at", "bad"),
    [
        *((0, float("nan")), (10, float("inf")), (60, float("nan"))),
        *(pytest.param(at, bad, marks=pytest.mark.slow) for at, bad in ((0, float("inf")), (60, float("inf")))),
        pytest.param(10, float("nan"), marks=pytest.mark.slow),
    ],
)
def test_a_non_finite_gradient_changes_no_later_decision(cls, at, bad):
    """A NaN or infinite gradient at any step leaves the state unchanged."""
    strategy, params, optimizer = run_until(cls, at)
    poisoned = {name: np.full_like(grad, bad) for name, grad in next(scripted_steps(1)).items()}
    feed(strategy, params, poisoned, step=at, optimizer=optimizer)
    assert_goes_on(cls, strategy, params, optimizer, range(at, at + 40))


def test_zero_gradients_freeze_nothing(cls):
    """After 50 steps of zero gradients, a parameter with a normal gradient still moves."""
    params = parameters(scripted_weights())
    strategy, optimizer = make(cls, params)
    zeros = {name: np.zeros_like(grad) for name, grad in next(scripted_steps(1)).items()}
    for step in range(50):
        feed(strategy, params, zeros, step=step, optimizer=optimizer)
    grads = next(scripted_steps(1))
    for step in range(50, 100):
        feed(strategy, params, grads, step=step, optimizer=optimizer)
    for name, param in params.items():
        assert float(param.grad.norm()) > 1e-3 * np.linalg.norm(grads[name]), name


def test_a_restored_strategy_decides_the_same(cls):
    """`state_dict` → `weights_only` file → `load_state_dict` gives the same next decisions, bit for bit."""
    strategy, params, optimizer = run_until(cls, 60)
    file = io.BytesIO()
    torch.save(dict(strategy.state_dict()), file)
    file.seek(0)
    restored = cls()
    restored.load_state_dict(torch.load(file, weights_only=True))
    assert_goes_on(cls, restored, params, optimizer, range(60, 120))


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))], ids=["deepcopy", "pickle"]
)
def test_a_copy_decides_the_same_and_shares_nothing(cls, duplicate):
    """A copy starts from the same state, and feeding one does not change another."""
    strategy, params, optimizer = run_until(cls, 60)
    twin, untouched = duplicate(strategy), duplicate(strategy)
    for fed, steps in ((twin, 30), (strategy, 30), (untouched, 1)):
        assert_goes_on(cls, fed, params, optimizer, range(60, 60 + steps))


def test_the_order_of_parameters_does_not_matter(cls):
    """The same gradients in reverse order give the same result."""
    reverse = dict(reversed(parameters(scripted_weights()).items()))
    strategy, optimizer = make(cls, reverse)
    for step, (grads, left) in enumerate(zip(scripted_steps(80), recording(cls)[0], strict=False)):
        feed(strategy, reverse, grads, step=step, optimizer=optimizer)
        for name, param in reverse.items():
            assert (param.grad is None) == (left[name] is None), name
            if param.grad is not None:
                assert_close(param.grad, left[name], f"step {step}, {name}", rtol=1e-12, atol=1e-12)


def test_it_never_reads_the_device(cls):
    """It runs on the meta device, where a host read raises; an exact skip is the documented exception."""
    params = {name: nn.Parameter(p.to("meta")) for name, p in parameters(scripted_weights()).items()}
    strategy, optimizer = make(cls, params)
    for step in (0, 1, 2, 29, 100_000):  # all else is in buffers, so on this device it depends on nothing but the step
        for param in params.values():
            param.grad = torch.empty_like(param)
        grads = Gradients(list(params), list(params.values()), step=step, optimizer=optimizer)
        action = strategy.decide(grads)
        if not _skips(action):
            action.apply_(grads)


def _skips(action: object) -> bool:
    return isinstance(action, Skip) or (isinstance(action, Sequential) and any(map(_skips, action.actions)))


def test_it_is_on_sale(cls):
    """The package exports the class by name."""
    assert getattr(lightning_clip, cls.__name__) is cls
    assert isinstance(cls().label, str)
    assert Keep is lightning_clip.Keep
