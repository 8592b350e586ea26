import itertools
from copy import deepcopy

import numpy as np
import pytest
import torch

from lightning_clip import AdaGC
from lightning_clip.strategies.ada_gc import next_median
from tests.references import per_tensor
from tests.support.probing import limit_of, lognormal_norms, play
from tests.support.scripted import assert_parity, in_both_precisions
from tests.support.tensors import clipped

HISTORIES = ["observed", "clipped", "winsorized", "accepted"]


@in_both_precisions
@pytest.mark.parametrize("arguments", [{}, {"clip_factor": 2.0, "decay": 0.9, "max_norm": 0.3, "warmup_steps": 20}])
def test_the_papers_rule_is_exact(arguments, precision):
    """`paper=True` matches the paper's algorithm, including frozen tensors."""
    assert_parity(AdaGC(**arguments, paper=True), per_tensor.paper_ada_gc(**arguments), **precision)


@in_both_precisions
@pytest.mark.parametrize("history", HISTORIES)
def test_it_follows_the_formula(history, precision):
    """The level is a running median, then the average of what the history stores, never below the floor."""
    arguments = {"clip_factor": 1.2, "warmup_steps": 40, "history": history, "floor": 0.3}
    assert_parity(AdaGC(**arguments), per_tensor.ada_gc(**arguments), **precision)


def test_the_running_median_ends_near_the_median():
    """It is within 15% after 100 values, although the first was a thousand times too large."""
    values = [1000.0, *lognormal_norms(99)]
    median = torch.tensor(values[0])
    for count, value in enumerate(values[1:], start=2):
        median = next_median(median, torch.tensor(value), torch.tensor(float(count)))
    assert float(median) == pytest.approx(np.median(values), rel=0.15)


def test_a_gradient_of_zero_in_the_warm_up_freezes_the_papers_rule_and_not_ours():
    """The paper's level becomes 0 for good; ours skips the zero."""
    norms = lognormal_norms(400)
    norms[50] = 0.0
    frozen, alive = AdaGC(paper=True), AdaGC()
    play(frozen, norms)
    play(alive, norms)
    assert limit_of(frozen) < 1e-7
    assert limit_of(alive) == pytest.approx(1.0, rel=0.2)


@pytest.mark.parametrize("history", ["clipped", "winsorized"])
def test_one_spike_leaves_the_limit_alone(history):
    """A norm a thousand times too large moves the limit by less than 5%."""
    norms = lognormal_norms(301)
    calm, spiked = AdaGC(history=history), AdaGC(history=history)
    play(calm, norms)
    play(spiked, [*norms[:-1], 1000.0 * norms[-1]])
    assert limit_of(spiked) == pytest.approx(limit_of(calm), rel=0.05)


def test_an_observed_spike_moves_it():
    """With `history="observed"`, the limit ends up about twenty times too large."""
    rule = AdaGC(history="observed")
    play(rule, lognormal_norms(300))
    before = limit_of(rule)
    play(rule, [1000.0])
    assert limit_of(rule) > 15 * before


@pytest.mark.parametrize(("history", "steps"), [("winsorized", 120), ("observed", 90), ("accepted", 500)])
def test_an_honest_rise_is_followed(history, steps):
    """After norms grow to eight times their size, the level is within 20% of the new norms."""
    rule = AdaGC(history=history)
    play(rule, lognormal_norms(300))
    play(rule, 8 * lognormal_norms(steps, seed=1))
    assert limit_of(rule) / 1.05 > 0.8 * 8


def test_the_papers_rule_follows_a_rise_by_a_thousandth_a_step():
    """After 300 steps the limit has not even grown by half."""
    rule = AdaGC(paper=True)
    play(rule, lognormal_norms(300))
    before = limit_of(rule)
    play(rule, 8 * lognormal_norms(300, seed=1))
    assert limit_of(rule) < 1.5 * before


def test_one_bad_tensor_changes_no_level():
    """A NaN in one gradient leaves all levels unchanged."""
    rule = AdaGC(warmup_steps=2)
    for _ in range(5):
        clipped(rule, a=torch.ones(3), b=torch.ones(2))
    before = deepcopy(rule.state_dict())
    left = clipped(rule, a=torch.tensor([1.0, torch.nan, 1.0]), b=torch.full((2,), 100.0))
    assert float(left["b"].norm()) == pytest.approx(1.05 * 2**0.5, rel=0.5)
    after = rule.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items() if isinstance(v, torch.Tensor))


def test_the_floor_lets_a_parameter_grow_out_of_a_tiny_start():
    """A tensor with warmup norms a millionth of the others' gets a hundredth of their level at once."""
    with_floor, without = AdaGC(warmup_steps=10), AdaGC(warmup_steps=10, floor=0.0)
    for rule in (with_floor, without):
        for _ in range(20):
            clipped(rule, a=torch.ones(4), b=torch.ones(4), late=torch.full((4,), 1e-6))
    large = {"a": torch.ones(4), "b": torch.ones(4), "late": torch.full((4,), 1.0)}
    level = float(clipped(with_floor, a=torch.full((4,), 1e6))["a"].norm()) / 1.05
    assert float(clipped(with_floor, **large)["late"].norm()) == pytest.approx(0.01 * 1.05 * level, rel=1e-4)
    assert float(clipped(without, **large)["late"].norm()) < 1e-5


def test_a_parameter_that_joins_late_warms_up_by_itself():
    """Its first gradients are scaled by the shared factor, because it has no level yet."""
    rule = AdaGC(warmup_steps=5, max_norm=1.0)
    for _ in range(10):
        clipped(rule, old=torch.ones(1))
    left = clipped(rule, old=torch.ones(1), new=torch.full((1,), 7.0))
    assert float(left["new"]) == pytest.approx(7 / 50**0.5)
    assert float(left["old"]) == pytest.approx(1.0)


def test_the_warm_up_scales_all_by_one_factor():
    """Until step `warmup_steps` the total norm is at most `max_norm`, and the direction is kept."""
    left = clipped(AdaGC(max_norm=0.5), a=torch.tensor([3.0]), b=torch.tensor([4.0]))
    assert float(left["a"]) == pytest.approx(0.3)
    assert float(left["b"]) == pytest.approx(0.4)


def test_min_scale_is_the_smallest_factor():
    """It applies during warmup and after it."""
    rule = AdaGC(warmup_steps=3, min_scale=0.25)
    factors = [left / 100 for left in play(rule, [100.0])]
    play(rule, itertools.repeat(1.0, 20))
    factors.append(play(rule, [1e6])[0] / 1e6)
    assert factors == pytest.approx([0.25, 0.25])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clip_factor": 0.0}, r"AdaGC\(clip_factor=0.0\): clip_factor must be a positive, finite number"),
        ({"decay": 1.0}, r"AdaGC\(decay=1.0\): decay must be at least 0 and below 1"),
        ({"warmup_steps": -1}, r"AdaGC\(warmup_steps=-1\): warmup_steps must be at least 0"),
        ({"history": "all"}, r"AdaGC\(history='all'\): history must be one of 'observed', 'clipped'"),
        ({"floor": 2.0}, r"AdaGC\(floor=2.0\): floor must be a number between 0 and 1"),
        ({"paper": True, "history": "clipped"}, r"AdaGC\(paper=True, history='clipped', .*set paper=False"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and names the remedy."""
    with pytest.raises(ValueError, match=message):
        AdaGC(**arguments)
