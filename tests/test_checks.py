import math
import re

import pytest

from lightning_clip._checks import check_choice, check_count, check_each
from lightning_clip.core import checks

ACCEPTED = {
    "check_positive": [1, 0.5, math.inf],
    "check_positive_finite": [1, 1e-300],
    "check_non_negative": [0, 0.0, 3.5],
    "check_fraction": [0, 1, 0.5],
    "check_percentile": [0, 100, 99.9],
    "check_decay": [0, 0.999],
}
REFUSED = {
    "check_positive": [0, -1.0, math.nan],
    "check_positive_finite": [0, math.inf, math.nan],
    "check_non_negative": [-0.1, math.inf, math.nan],
    "check_fraction": [-0.1, 1.1, math.nan],
    "check_percentile": [-1, 100.5, math.nan],
    "check_decay": [1, -0.1, math.nan],
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_numbers_within_the_rule_pass(name):
    """The ends of the range included, where the rule says so."""
    for value in ACCEPTED[name]:
        getattr(checks, name)("Some", limit=value)


@pytest.mark.parametrize("name", REFUSED)
def test_numbers_outside_the_rule_are_refused(name):
    """The message quotes the call and states the rule; NaN is never a number."""
    for value in REFUSED[name]:
        with pytest.raises(ValueError, match=rf"^Some\(limit={re.escape(repr(value))}\): limit must be [^ ]+ .*\.$"):
            getattr(checks, name)("Some", limit=value)


@pytest.mark.parametrize("name", ACCEPTED)
@pytest.mark.parametrize("value", ["1", None, True, [1.0]])
def test_what_is_no_number_is_refused(name, value):
    """A string from a command line, `None` and a truth value are mistakes."""
    with pytest.raises(TypeError, match=r"^Some\(limit=.*\): limit must be"):
        getattr(checks, name)("Some", limit=value)


def test_several_arguments_are_checked_in_order():
    """The first wrong one is named."""
    with pytest.raises(ValueError, match="second must be"):
        checks.check_positive("Some", first=1.0, second=-1.0, third=-1.0)


def test_counts_are_whole_numbers():
    """From the smallest on; a float or a truth value is not one."""
    check_count("Some", steps=1)
    check_count("Some", at_least=0, steps=0)
    with pytest.raises(ValueError, match=r"^Some\(steps=1\): steps must be at least 2\.$"):
        check_count("Some", at_least=2, steps=1)
    for value in (1.0, True, "3", None):
        with pytest.raises(TypeError, match=r"steps must be a whole number"):
            check_count("Some", steps=value)


def test_choices_are_listed():
    """So that the right word need not be looked up."""
    check_choice("Some", ("a", "b"), way="a")
    with pytest.raises(ValueError, match=r"^Some\(way='c'\): way must be one of 'a', 'b'\.$"):
        check_choice("Some", ("a", "b"), way="c")


def test_each_member_is_checked():
    """The wrong one is quoted; a single one in place of a list is told so."""
    check_each("Some", int, numbers=[1, 2])
    check_each("Some", int, numbers=())
    with pytest.raises(TypeError, match=r"^Some\(numbers=…\): each must be a int instance, not 'x'\.$"):
        check_each("Some", int, numbers=[1, "x"])
    with pytest.raises(TypeError, match=r"^Some\(numbers=1\): numbers must be a list of int instances\.$"):
        check_each("Some", int, numbers=1)
