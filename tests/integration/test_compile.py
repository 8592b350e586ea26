"""`torch.compile` around the module, the optimizer and a strategy's decision."""

import copy

import pytest
import torch
from torch import nn

from lightning_clip import (
    Blend,
    Chain,
    Clamp,
    ClipStrategy,
    GradientClipping,
    GradientMonitor,
    Gradients,
    GroupNormClip,
    NonFiniteGuard,
    NormClip,
    PerParameterNormClip,
    Shadow,
    StrategySchedule,
    ThresholdSchedule,
    Tightest,
    ValueClip,
    ZClip,
    clip_,
)
from lightning_clip.core.names import parameter_names
from tests.contract.discovered import concrete_strategies
from tests.support.scripted import parameters, scripted_steps, scripted_weights
from tests.support.training import ManualNet, Net, loader, quiet_trainer

NAMES = ["net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"]
LINKED = {
    "Blend": lambda: Blend(NormClip(2.0), PerParameterNormClip(0.5)),
    "Chain": lambda: Chain([ValueClip(0.5), NormClip(1.0)]),
    "GroupNormClip": lambda: GroupNormClip({"linear.*": 0.5, "*": 0.2}),
    "Shadow": lambda: Shadow(NormClip(1.0), watched=[ZClip(), ValueClip(0.5)]),
    "StrategySchedule": lambda: StrategySchedule({0: NormClip(1.0), 3: ValueClip(0.5)}),
    "ThresholdSchedule": lambda: ThresholdSchedule(NormClip(1.0), steps=4),
    "Tightest": lambda: Tightest([NormClip(1.0), ValueClip(0.5)]),
}


@pytest.fixture(autouse=True, scope="module")
def _nothing_compiled_is_left():
    yield
    torch._dynamo.reset()


@pytest.fixture(autouse=True)
def _fresh_compiler(monkeypatch):
    torch._dynamo.reset()
    # What the compiler logs of its guards' speed is not looked at, and takes long: it empties the caches of the CPU.
    monkeypatch.setattr("torch._dynamo.guards.profile_guard_manager", lambda *args: 0.0, raising=False)


def fit(module, *callbacks):
    trainer = quiet_trainer(callbacks=list(callbacks), max_epochs=1)
    trainer.fit(module, loader())
    return trainer


# Compiling takes long, so the short form compiles a strategy for each kind of action, and some that keep something.
SHORT = {
    *("AGC", "Chain", "NoClip", "NormClip", "PerParameterNormClip", "SkipAbove", "Tightest", "ValueClip"),
    *("RobustClip", "StrategySchedule"),
}


def kinds_of(action):
    """The classes of an action and of its parts."""
    return {type(action)}.union(*map(kinds_of, getattr(action, "actions", ())))


def steps_of(cls):
    """A strategy, and parameters with an optimizer that has made a step."""
    params = parameters(scripted_weights())
    adam = torch.optim.Adam(params.values())
    for param in params.values():
        param.grad = torch.ones_like(param)
    adam.step()
    return LINKED.get(cls.__name__, cls)(), params, adam


def test_the_short_form_has_every_kind_of_action():
    """No strategy decides for a kind of action that none of the short form decides for."""
    kinds = {}
    for cls in concrete_strategies():
        strategy, params, adam = steps_of(cls)
        grads = Gradients(list(params), list(params.values()), optimizer=adam)
        kinds[cls.__name__] = kinds_of(strategy.decide(grads))
    assert set().union(*kinds.values()) == set().union(*(kinds[name] for name in SHORT))


@pytest.mark.parametrize(
    "cls",
    [pytest.param(cls, marks=() if cls.__name__ in SHORT else pytest.mark.slow) for cls in concrete_strategies()],
    ids=lambda cls: cls.__name__,
)
def test_a_decision_compiles_without_a_graph_break(cls):
    """It leaves the same gradients as the uncompiled strategy, step after step."""
    strategy, params, adam = steps_of(cls)
    plain = copy.deepcopy(strategy)
    decide = torch.compile(strategy.decide, fullgraph=True, backend="eager")
    for step, given in enumerate(scripted_steps(4)):
        left = []
        for answer in (decide, plain.decide):
            for name, param in params.items():
                param.grad = torch.tensor(given[name])
            grads = Gradients(list(params), list(params.values()), step=step, optimizer=adam)
            with torch.no_grad():
                answer(grads).apply_(grads)
            left.append([None if param.grad is None else param.grad.clone() for param in params.values()])
        torch.testing.assert_close(left[0], left[1], rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "strategy",
    [pytest.param(NormClip(0.7), marks=pytest.mark.slow), ZClip(), Chain([ValueClip(0.5), NormClip(0.7)])],
    ids=repr,
)
def test_a_decision_compiles_through_autograds_backend(strategy):
    """Buffers that a decision changes in place compile, too."""
    decide = torch.compile(strategy.decide, fullgraph=True, backend="aot_eager")
    plain = copy.deepcopy(strategy)
    for scale in (1.0, 2.0, 50.0):
        param = nn.Parameter(torch.zeros(3))
        param.grad = scale * torch.tensor([3.0, 4.0, 0.0])
        grads = Gradients(["w"], [param])
        with torch.no_grad():
            coefs, expected = decide(grads).preview(grads).norms(), plain.decide(grads).preview(grads).norms()
        torch.testing.assert_close(coefs, expected)


def test_a_clamp_that_is_being_compiled_reads_nothing(monkeypatch):
    """The effect of a compiled clamp is measured afterwards."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert Clamp(2.0, torch.tensor(1.0, device="cpu")).coefs is None
    monkeypatch.undo()
    assert Clamp(2.0, torch.tensor(1.0, device="cpu")).coefs == 1


@pytest.mark.parametrize("which", ["module", "part"])
def test_a_compiled_module_keeps_its_names(which):
    """Records, groups and reports use the plain parameter names, and weights are those without compiling."""
    module, expected = Net(), Net()
    callback = GradientClipping(GroupNormClip({"net.0.*": 0.3, "net.2.*": 0.4}), group_by="param")
    if which == "module":
        compiled = torch.compile(module, backend="aot_eager")
    else:
        compiled, module.net = module, torch.compile(module.net, backend="aot_eager")
        assert "_orig_mod" in next(iter(dict(module.named_parameters())))
    fit(compiled, callback)
    fit(expected, GradientClipping(GroupNormClip({"net.0.*": 0.3, "net.2.*": 0.4})))
    assert callback.history.parameters.names == list(callback.run.numels) == NAMES
    assert callback.run.model == "Net"
    torch.testing.assert_close(list(module.parameters()), list(expected.parameters()))


def test_wrappers_leave_no_trace_in_names_outside_of_a_trainer():
    """In a plain loop, compiled and checkpointed modules have plain names."""
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    net = nn.Sequential(torch.compile(nn.Linear(2, 2), backend="eager"), nn.Sequential(checkpoint_wrapper(nn.Tanh())))
    net.append(nn.ModuleList([checkpoint_wrapper(nn.Linear(2, 1))]))
    assert list(parameter_names(net).values()) == ["0.weight", "0.bias", "2.0.weight", "2.0.bias"]
    for param in net.parameters():
        param.grad = torch.ones_like(param)
    assert Gradients.of_module(torch.compile(net, backend="eager")).names == tuple(parameter_names(net).values())


@pytest.mark.filterwarnings("ignore")  # the compiler's own, about what it traces
@pytest.mark.parametrize(("kind", "mode"), [("sgd", Net), ("adam", ManualNet)], ids=["automatic", "manual"])
def test_a_compiled_optimizer_does_not_trace_the_callbacks(mode, kind):
    """The hooks act at every step without being traced, and the weights are those without compiling."""

    class Compiled(mode):
        def configure_optimizers(self):
            optimizer = super().configure_optimizers()
            optimizer.step = torch.compile(optimizer.step, backend="eager")
            return optimizer

    class Traced(ClipStrategy):
        """Records whether it is being traced."""

        def decide(self, grads):
            traced.append(torch.compiler.is_compiling())
            return NormClip(0.7).decide(grads)

    runs, traced = [], []
    for cls in (Compiled, mode):
        module, clipping, guard = cls(kind), GradientClipping(Traced()), NonFiniteGuard()
        fit(module, guard, GradientMonitor(), clipping)
        runs.append(([record.norm_before for record in clipping.history], list(module.parameters())))
        assert guard.last_good_norm == clipping.history[-1].norm_before
    assert traced == 12 * [False]
    assert runs[0][0] == pytest.approx(runs[1][0], rel=1e-4)
    torch.testing.assert_close(runs[0][1], runs[1][1], rtol=1e-4, atol=1e-5)  # compiled, Adam itself rounds differently


@pytest.mark.filterwarnings("ignore")  # the compiler's own, about what it traces
def test_a_compiled_step_of_a_plain_loop_takes_clipped_gradients():
    """A compiled optimizer receives the clipped gradients."""
    weights = []
    for compiled in (False, True):
        torch.manual_seed(0)
        net = nn.Linear(3, 1)
        sgd = torch.optim.SGD(net.parameters(), lr=0.1)
        step = torch.compile(sgd.step, backend="eager") if compiled else sgd.step
        for _ in range(3):
            sgd.zero_grad()
            net(torch.ones(2, 3)).pow(2).sum().backward()
            clip_(Gradients.of_optimizer(sgd, parameter_names(net)), NormClip(0.1))
            step()
        weights.append(list(net.parameters()))
    torch.testing.assert_close(weights[0], weights[1])
