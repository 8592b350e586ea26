import itertools
from fnmatch import fnmatch

import numpy as np
import pytest
import torch

from lightning_clip import Gradients, GroupEmaClip, clip_
from tests.references import per_tensor
from tests.support.probing import play
from tests.support.scripted import assert_parity, in_both_precisions, parameters, scripted_weights
from tests.support.tensors import clipped


@in_both_precisions
@pytest.mark.parametrize("factors", [{"*": 1.5}, {"linear.*": 1.1, "conv.*": 2.0}], ids=["all", "two and a rest"])
def test_it_follows_the_formula(factors, precision):
    """Each group is limited to its factor times its own level; parameters outside of all groups stay unchanged."""

    def group_of(name: str) -> str | None:
        return next((glob for glob in factors if fnmatch(name, glob)), None)

    assert_parity(GroupEmaClip(factors), per_tensor.group_ema(factors, group_of), **precision)
    arguments = {"decay": 0.9, "max_norm": 0.2, "warmup_steps": 3}
    assert_parity(GroupEmaClip(factors, **arguments), per_tensor.group_ema(factors, group_of, **arguments), **precision)


def test_a_group_that_explodes_does_not_shrink_the_others():
    """Each group has its own level, however different they are."""
    rule = GroupEmaClip({"a*": 1.5, "b*": 2.0}, max_norm=1e9)
    for _ in range(40):
        clipped(rule, a1=torch.full((3,), 3.0), a2=torch.full((1,), 3.0), b=torch.full((4,), 0.01))
    left = clipped(rule, a1=torch.full((3,), 300.0), a2=torch.full((1,), 300.0), b=torch.full((4,), 0.01))
    assert left["b"].tolist() == pytest.approx([0.01] * 4)
    assert torch.cat([left["a1"], left["a2"]]).norm() == pytest.approx(1.5 * 6.0, rel=1e-3)


def test_the_warmup_is_clipped_by_the_total_norm():
    """No gradient of the first steps passes `max_norm`, and the levels start from what is left."""
    left = play(GroupEmaClip(max_norm=2.0), [1e12, *itertools.repeat(1.0, 30), 50.0])
    assert left[0] == pytest.approx(2.0)
    assert left[-1] == pytest.approx(1.5, rel=0.2)


def test_norms_whose_squares_overflow_are_combined():
    """The norm of a group of 1e30 is a float32, although its square is not."""
    left = clipped(GroupEmaClip(), a=torch.full((2,), 1e30), b=torch.full((2,), 1e30))
    assert torch.cat([left["a"], left["b"]]).norm() == pytest.approx(1.0, rel=1e-5)


def test_a_glob_that_matches_nothing_is_an_error():
    """It names the glob and some parameters."""
    params = parameters(scripted_weights())
    for param in params.values():
        param.grad = torch.ones_like(param)
    grads = Gradients(list(params), list(params.values()))
    with pytest.raises(ValueError, match=r"GroupEmaClip\(factors=\{'head.*': 1.2\}\): 'head\.\*' matches no parameter"):
        clip_(grads, GroupEmaClip({"head.*": 1.2}))
    clip_(grads, GroupEmaClip({"linear.*": 1.2}))
    assert np.isclose(float(params["scale"].grad), 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"factors": {}}, r"GroupEmaClip\(factors=\{\}\): factors needs at least one glob"),
        ({"factors": {"*": 0}}, r"GroupEmaClip\(factors\['\*'\]=0\): factors\['\*'\] must be a positive number"),
        ({"decay": 1.0}, r"GroupEmaClip\(decay=1.0\): decay must be at least 0 and below 1"),
        ({"max_norm": 0}, r"GroupEmaClip\(max_norm=0\): max_norm must be a positive number"),
        ({"warmup_steps": 0}, r"GroupEmaClip\(warmup_steps=0\): warmup_steps must be at least 1"),
        ({"explosion": 0.5}, r"GroupEmaClip\(explosion=0.5\): explosion must be above 1"),
        ({"min_scale": 2}, r"GroupEmaClip\(min_scale=2\): min_scale must be a number between 0 and 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        GroupEmaClip(**arguments)
