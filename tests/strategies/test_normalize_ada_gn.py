import itertools
from copy import deepcopy

import pytest
import torch

from lightning_clip import NormalizeAdaGN
from tests.references import per_tensor
from tests.support.probing import play
from tests.support.scripted import assert_parity, in_both_precisions
from tests.support.tensors import clipped


@in_both_precisions
@pytest.mark.parametrize("history", ["observed", "clipped", "winsorized"])
def test_it_follows_the_formula(history, precision):
    """The norm left is the mean of the norms over their root mean square."""
    assert_parity(NormalizeAdaGN(history=history), per_tensor.ada_gn(history=history), **precision)
    arguments = {"gamma2": 0.99, "history": history, "eps": 1e-3}
    assert_parity(
        NormalizeAdaGN(0.5, norm=3.0, **arguments), per_tensor.ada_gn(0.5, target=3.0, **arguments), **precision
    )


def test_steady_norms_become_the_norm_whatever_their_scale():
    """A gradient of 1e-6 is raised to 0.5, and one of 1e6 is reduced to 0.5."""
    for size in (1e-6, 1.0, 1e6):
        assert play(NormalizeAdaGN(norm=0.5), itertools.repeat(size, 20))[-1] == pytest.approx(0.5, rel=0.02)


def test_a_spike_does_not_shrink_the_gradients_after_it():
    """With the source's history, a spike of a thousand times the level soon leaves less than a tenth, up to step 60."""
    norms = [*itertools.repeat(1.0, 40), 1000.0, *itertools.repeat(1.0, 60)]
    assert min(play(NormalizeAdaGN(), norms)[41:]) > 0.7
    assert max(play(NormalizeAdaGN.reference(), norms)[48:]) < 0.1


def test_a_huge_norm_does_not_overflow():
    """The square of 1e30 is not a float32."""
    left = play(NormalizeAdaGN.reference(), itertools.repeat(1e30, 10))
    assert left[-1] == pytest.approx(1.0, rel=1e-3)


def test_one_bad_tensor_changes_no_state():
    """A NaN in one gradient leaves all averages unchanged, and the finite gradient is still scaled."""
    rule = NormalizeAdaGN()
    clipped(rule, a=torch.ones(3), b=torch.ones(2))
    before = deepcopy(rule.state_dict())
    left = clipped(rule, a=torch.tensor([1.0, torch.nan, 1.0]), b=torch.full((2,), 100.0))
    assert left["b"].norm() == pytest.approx(1.0, rel=1e-6)
    assert left["a"][[0, 2]].tolist() == [1.0, 1.0]
    after = rule.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items() if isinstance(v, torch.Tensor))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma1": 1.0}, r"NormalizeAdaGN\(gamma1=1.0\): gamma1 must be at least 0 and below 1"),
        ({"gamma2": -0.1}, r"NormalizeAdaGN\(gamma2=-0.1\): gamma2 must be at least 0 and below 1"),
        ({"norm": 0}, r"NormalizeAdaGN\(norm=0\): norm must be a positive, finite number"),
        ({"eps": 0.0}, r"NormalizeAdaGN\(eps=0.0\): eps must be a positive number"),
        ({"history": "accepted"}, r"NormalizeAdaGN\(history='accepted'\): history must be one of 'observed'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        NormalizeAdaGN(**arguments)
