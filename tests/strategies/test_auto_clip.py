import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_clip import AutoClip, Gradients
from tests.references import adaptive
from tests.support.norm_sequences import shift_by_a_spike, thresholds_and_coefs, usual
from tests.support.scripted import assert_parity, in_both_precisions


@in_both_precisions
@pytest.mark.parametrize("percentile", [0.0, 10.0, 62.5, 100.0])
def test_it_follows_the_formula(percentile, precision):
    """The limit is `np.percentile` of the earlier norms."""
    assert_parity(AutoClip(percentile), adaptive.auto_clip(percentile), **precision)
    assert_parity(AutoClip(percentile, window=40), adaptive.auto_clip(percentile, window=40), **precision)


@in_both_precisions
def test_the_papers_rule_takes_all_norms_and_the_current_one(precision):
    """`window=None, include_current=True` is `np.percentile` of everything so far."""
    strategy = AutoClip(10.0, window=None, include_current=True)
    assert_parity(strategy, adaptive.auto_clip(10.0, window=10**9, include_current=True), **precision)


def test_all_norms_can_be_remembered_without_the_current_one():
    """`window=None` alone only stops norms from being forgotten."""
    assert_parity(AutoClip(90.0, window=None), adaptive.auto_clip(90.0, window=10**9))


def test_min_history_and_winsorizing_follow_the_formula():
    """Nothing is clipped before `min_history` norms, and a spike is stored as twice the limit."""
    strategy = AutoClip(80.0, window=30, min_history=20, history="winsorized")
    reference = adaptive.auto_clip(80.0, window=30, min_history=20, history="winsorized")
    assert_parity(strategy, reference)


def test_the_first_step_is_not_clipped():
    """There is nothing to compare it with."""
    thresholds, coefs = thresholds_and_coefs(AutoClip(), np.array([1e6, 2e6]))
    assert thresholds[0] == np.inf
    assert coefs.tolist() == [1.0, 0.5]


def test_the_default_clips_nine_steps_in_ten():
    """Percentile 10 lets one norm in ten pass, percentile 90 nine in ten."""
    norms = usual(600)
    assert np.mean(thresholds_and_coefs(AutoClip(), norms)[1] < 1) == pytest.approx(0.9, abs=0.04)
    assert np.mean(thresholds_and_coefs(AutoClip(90.0), norms)[1] < 1) == pytest.approx(0.1, abs=0.04)


def test_min_scale_bounds_the_factor():
    """No factor is below `min_scale`."""
    _, coefs = thresholds_and_coefs(AutoClip(min_scale=0.25), np.array([1.0, 2.0, 1000.0]))
    assert coefs.tolist() == [1.0, 0.5, 0.25]


@pytest.mark.parametrize("history", ["observed", "winsorized"])
@pytest.mark.parametrize("percentile", [10.0, 90.0])
def test_one_spike_moves_the_limit_by_less_than_five_percent(percentile, history):
    """A spike moves a percentile by one rank."""
    assert shift_by_a_spike(AutoClip(percentile, history=history), before=300) == pytest.approx(1.0, abs=0.05)


def test_an_honest_jump_is_followed_once_a_tenth_of_the_window_is_new():
    """With percentile 90, the limit reaches the new norms after `0.1 * window` steps, and not before."""
    norms = usual(500)
    norms[250:] *= 8
    thresholds, _ = thresholds_and_coefs(AutoClip(90.0, window=200), norms)
    assert thresholds[250 + 15] < 3
    assert thresholds[250 + 21] > norms[250:].min() * 0.9


def test_cost_and_memory_of_an_unbounded_history_do_not_grow():
    """Steps 100 and 5,000 run the same operations on tensors of the same sizes."""
    strategy = AutoClip(window=None, include_current=True)
    thresholds_and_coefs(strategy, usual(99))
    early = operations(strategy)
    thresholds_and_coefs(strategy, usual(4900))
    assert operations(strategy) == early
    assert sum(buffer.numel() for buffer in strategy.buffers()) < 10_000


def test_a_long_unbounded_history_stays_within_its_stated_error():
    """After 1,024 steps the limit is within 0.55% of the exact percentile."""
    norms = np.exp(np.random.default_rng(2).standard_t(3, 4000))
    thresholds, _ = thresholds_and_coefs(AutoClip(90.0, window=None, include_current=True), norms)
    for step in (500, 1023, 1024, 2000, 3999):
        exact = np.percentile(norms[: step + 1], 90.0)
        assert thresholds[step] == pytest.approx(exact, rel=1e-12 if step < 1024 else 0.0055), step


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"percentile": 101.0}, r"AutoClip\(percentile=101.0\): percentile must be a number between 0 and 100."),
        ({"percentile": -1.0}, r"AutoClip\(percentile=-1.0\): percentile must be a number between 0 and 100."),
        ({"window": 0}, r"AutoClip\(window=0\): window must be at least 1."),
        ({"min_history": 0}, r"AutoClip\(min_history=0\): min_history must be at least 1."),
        ({"min_scale": 1.5}, r"AutoClip\(min_scale=1.5\): min_scale must be a number between 0 and 1."),
        ({"history": "clipped"}, r"AutoClip\(history='clipped'\): history must be one of 'observed', 'winsorized'."),
        (
            {"include_current": True, "history": "winsorized"},
            r"AutoClip\(include_current=True, history='winsorized'\): .*use history='observed' or include_current",
        ),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        AutoClip(**arguments)


def operations(strategy: AutoClip) -> list[tuple[str, list[torch.Size]]]:
    """The operations of one decision, each with the shapes of its tensors."""

    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            shapes = [arg.shape for arg in args if isinstance(arg, torch.Tensor)]
            seen.append((str(func), shapes))
            return func(*args, **(kwargs or {}))

    seen: list[tuple[str, list[torch.Size]]] = []
    param = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    param.grad = torch.ones_like(param)
    with torch.no_grad(), Record():
        strategy.decide(Gradients(["p"], [param]))
    return seen
