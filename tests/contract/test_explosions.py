"""What every adaptive rule lets through when gradients explode, and how fast it follows an honest change."""

import itertools
import math
from dataclasses import dataclass
from functools import cache

import pytest
from torch import nn

from lightning_clip import ClipStrategy
from tests.contract.discovered import concrete_strategies
from tests.support.probing import limit_of, play

EXPLODED = 1e12


@dataclass(frozen=True)
class Stated:
    """The bounds of a rule with its defaults, for a single tensor whose norm is usually 1.

    Attributes:
        sustained: The largest norm left while norms of 1e12 follow 50 norms of 1 for 250 steps.
        first: The largest norm left of 1e12 at the very first step; `inf` if the first steps are not clipped.
        later: The largest norm left of 1e12 after one at the very first step and 200 norms of 1; `inf` if the first
            norm sets the level.
        follows: How many steps after a jump from 1 to 8 the limit has risen to 80% of 8 times its value; `inf` if it
            does not depend on the level.
    """

    sustained: float
    first: float
    later: float
    follows: float


STATED = {
    "AdaGC": Stated(sustained=2.1, first=1.0, later=1.06, follows=110),
    "AdaptiveMaxClip": Stated(sustained=6.8, first=math.inf, later=math.inf, follows=645),
    "AdaptiveSpectralClip": Stated(sustained=14.2, first=1.0, later=3.1, follows=130),
    "AutoClip": Stated(sustained=1.0, first=math.inf, later=1.0, follows=900),
    "CoordinateClip": Stated(sustained=139.0, first=math.inf, later=math.inf, follows=155),
    "EmaRatioClip": Stated(sustained=7.6, first=1.0, later=1.11, follows=21),
    "GroupEmaClip": Stated(sustained=3.0, first=1.0, later=1.6, follows=90),
    "GrowthLimitClip": Stated(sustained=12.1, first=math.inf, later=1.02, follows=190),
    "NormalizeAdaGN": Stated(sustained=1.5, first=1.0, later=1.5, follows=math.inf),
    "QuantileClip": Stated(sustained=2.2, first=math.inf, later=1.05, follows=42),
    "RobustClip": Stated(sustained=1.2, first=math.inf, later=1.2, follows=65),
    "SkipSpikes": Stated(sustained=1.4, first=math.inf, later=1.4, follows=65),
    "SpikeClip": Stated(sustained=1e4, first=math.inf, later=math.inf, follows=240),
    "ZClip": Stated(sustained=1.1, first=math.inf, later=1.01, follows=100),
}
EXEMPT = {
    "SkipAbove": "its limit is fixed; it counts steps",
    "UpdateRMSClip": "its history is the optimizer's, and it bounds the update and not the gradient",
}


@cache
def adaptive() -> list[type[ClipStrategy]]:
    """Every rule that remembers something of the gradients; what composites remember is in their parts."""
    found = []
    for cls in concrete_strategies():
        rule = cls()
        parts = [part for part in rule.modules() if part is not rule]
        is_composite = any(isinstance(part, ClipStrategy | nn.ModuleList | nn.ModuleDict) for part in parts)
        if (parts or list(rule.buffers())) and not is_composite and cls.__name__ not in EXEMPT:
            found.append(cls)
    return found


def test_every_adaptive_rule_states_its_bounds():
    """A new rule cannot be added without them."""
    assert {cls.__name__ for cls in adaptive()} == set(STATED)


every_adaptive_rule = pytest.mark.parametrize("cls", adaptive(), ids=lambda cls: cls.__name__)


@every_adaptive_rule
def test_a_sustained_explosion_carries_no_limit_away(cls):
    """Norms of 1e12 for 250 steps, after 50 of 1, leave at most the stated norm."""
    left = play(cls(), [*itertools.repeat(1.0, 50), *itertools.repeat(EXPLODED, 250)])[50:]
    assert max(left) <= STATED[cls.__name__].sustained
    assert min(left) > 0


@every_adaptive_rule
def test_an_explosion_at_the_first_step_sets_no_level(cls):
    """It leaves at most the stated norm, and so does one more after 200 norms of 1."""
    stated = STATED[cls.__name__]
    left = play(cls(), [EXPLODED, *itertools.repeat(1.0, 200), EXPLODED])
    assert left[0] <= stated.first + 1e-6
    assert left[-1] <= stated.later
    assert left[-2] >= 0.1, "norms of 1 get through again"


@every_adaptive_rule
def test_a_protected_start_bounds_an_explosion_from_the_first_step_on(cls):
    """Rules that clip the first step leave no more of the next 50."""
    stated = STATED[cls.__name__]
    if math.isfinite(stated.first):
        assert max(play(cls(), itertools.repeat(EXPLODED, 50))) <= stated.sustained


@every_adaptive_rule
def test_an_honest_jump_to_eight_times_is_followed(cls):
    """The limit has risen to 80% of 8 times its value after the stated number of steps, and not at once."""
    stated, rule = STATED[cls.__name__], cls()
    if stated.follows == math.inf:
        pytest.skip("its limit does not depend on the level")
    play(rule, itertools.repeat(1.0, 100))
    before = limit_of(rule)
    play(rule, itertools.repeat(8.0, int(stated.follows)))
    assert limit_of(rule) >= 0.8 * 8 * before
