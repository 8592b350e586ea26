"""Gradients that are real but awkward: complex, NaN, or still part of a graph; every strategy must bear them."""

import copy
import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import nn

import lightning_clip as lc
from lightning_clip import ClipStrategy, Gradients, clip_
from tests.contract.discovered import concrete_strategies
from tests.support.values import assert_same_values

SHAPES = {"matrix": (5, 3), "filter": (2, 3, 4), "wide": (3, 6), "vector": (4,), "number": ()}
COMPOSITES: dict[str, Callable[[], ClipStrategy]] = {
    "chain": lambda: lc.Chain([cls() for cls in concrete_strategies() if cls.__name__ != "SkipSpikes"]),
    "chain that clamps first": lambda: lc.Chain([lc.ValueClip(0.1), lc.AdaGC(), lc.ZClip(), lc.Blend()]),
    "tightest": lambda: lc.Tightest([lc.AutoClip(), lc.CoordinateClip(), lc.SkipSpikes(), lc.SpectralClip(0.1)]),
    "shadow": lambda: lc.Shadow(lc.AdaGC(), watched=[lc.ZClip(), lc.Blend(lc.AutoClip(), lc.RobustClip())]),
    "blend": lambda: lc.Blend(lc.AdaGC(), lc.EmaRatioClip(), steps=40),
    "threshold schedule": lambda: lc.ThresholdSchedule(lc.NormClip(0.1), steps=40),
    "strategy schedule": lambda: lc.StrategySchedule({0: lc.AdaGC(), 20: lc.Blend(lc.SkipSpikes(), lc.QuantileClip())}),
    "paper": lambda: lc.AdaGC(paper=True, warmup_steps=5),
    "reference": lambda: lc.ZClip.reference(warmup_steps=5),
    "accepted": lambda: lc.RobustClip(history="accepted"),
    "all norms": lambda: lc.AutoClip(window=None, include_current=True),
    "growth": lambda: lc.GrowthLimitClip(per="global"),
}
EVERY = {cls.__name__: cls for cls in concrete_strategies()} | COMPOSITES
every_strategy = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
NEEDS_REAL = ("UpdateRMSClip", "chain")  # they read Adam's second moments, which treat both parts as separate numbers


class Steps:
    """Parameters with an optimizer, and one step of a strategy on random gradients after another."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.random = torch.Generator().manual_seed(0)
        self.params = {name: nn.Parameter(self.draw(shape, dtype)) for name, shape in SHAPES.items()}
        self.optimizer = torch.optim.Adam(self.params.values())
        self.made = 0
        for param in self.params.values():
            param.grad = self.draw(param.shape, param.dtype)
        self.optimizer.step()

    def draw(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        return torch.randn(shape, generator=self.random, dtype=dtype)

    def clip(self, strategy: ClipStrategy, *, size: float = 1.0, bad: float | None = None, at: str | None = None):
        """Clip new gradients and return them as they were before."""
        for name, param in self.params.items():
            param.grad = size * self.draw(param.shape, param.dtype)
            if bad is not None and at in (None, name):
                param.grad.view(-1)[0] = bad
        before = {name: param.grad.clone() for name, param in self.params.items()}
        grads = Gradients(list(self.params), list(self.params.values()), step=self.made, optimizer=self.optimizer)
        clip_(grads, strategy)
        self.made += 1
        return before


@every_strategy
def test_a_nan_step_leaves_the_state_as_it_is(make):
    """No window, average or counter moves, and no dtype changes, in a strategy or in the parts of a composite."""
    steps, strategy = Steps(torch.float32), make()
    for step in range(32):
        steps.clip(strategy)
        if step in (0, 6, 31):
            before = copy.deepcopy(strategy.state_dict())
            for at in (None, "matrix", "number"):
                steps.clip(strategy, bad=torch.nan, at=at)
                assert_same_values(strategy.state_dict(), before)


@every_strategy
def test_a_first_step_of_nan_changes_no_dtype(make):
    """NaN is measured again in float64, but what a strategy then keeps is float32 as without it."""
    steps, strategy, other = Steps(torch.float32), make(), make()
    steps.clip(strategy, bad=torch.nan)
    for one in (strategy, other):
        steps.clip(one)
    found, expected = ({name: _dtype(value) for name, value in one.state_dict().items()} for one in (strategy, other))
    assert found == expected


def _dtype(value: object) -> torch.dtype | None:
    return value.dtype if isinstance(value, torch.Tensor) else None


@every_strategy
def test_complex_gradients_are_clipped_or_refused_at_once(make, request):
    """Each element keeps its phase and does not grow; a rule that needs real numbers says so at the first step."""
    steps, strategy = Steps(torch.complex64), make()
    if request.node.callspec.id in NEEDS_REAL:
        with pytest.raises(ValueError, match="needs dense, real gradients, but that of 'matrix' is sparse or complex"):
            steps.clip(strategy)
        return
    for step in range(30):
        before = steps.clip(strategy, size=1000.0 if step == 27 else 1.0)
        for name, param in steps.params.items():
            if param.grad is None:
                continue
            assert param.grad.dtype == torch.complex64
            assert bool(param.grad.isfinite().all())
            if "Normalize" not in repr(strategy):
                assert float(param.grad.norm()) <= float(before[name].norm()) * (1 + 1e-5), name
            if "SpectralClip" not in repr(strategy):
                turned = param.grad / before[name]
                assert bool((turned.imag.abs() <= 1e-5).all()), f"step {step}, {name}: {turned.imag}"


@every_strategy
def test_a_complex_nan_step_leaves_the_state_as_it_is(make, request):
    """The same as for real gradients."""
    if request.node.callspec.id in NEEDS_REAL:
        pytest.skip("it refuses complex gradients")
    steps, strategy = Steps(torch.complex64), make()
    for _ in range(7):
        steps.clip(strategy)
    before = copy.deepcopy(strategy.state_dict())
    steps.clip(strategy, bad=torch.nan)
    assert_same_values(strategy.state_dict(), before)


@every_strategy
@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True")
def test_no_strategy_keeps_a_graph(make):
    """After `backward(create_graph=True)` the graph goes with the gradients, although the record is not yet read."""
    steps, strategy, pending, graphs = Steps(torch.float32), make(), [], []
    for _ in range(3):
        steps.optimizer.zero_grad()
        hidden = [param.tanh() for param in steps.params.values()]  # the graph of the gradients needs it
        sum(one.square().sum() for one in hidden).backward(create_graph=True)
        graphs += map(weakref.ref, hidden)
        grads = Gradients(list(steps.params), list(steps.params.values()), optimizer=steps.optimizer)
        grads.total_norm()  # as a guard does, outside `clip_`
        pending.append(clip_(grads, strategy))
        for param in steps.params.values():
            param.grad = None
        del hidden
    gc.collect()
    assert all(not step.norm_before.requires_grad for step in pending)
    assert all(graph() is None for graph in graphs)
