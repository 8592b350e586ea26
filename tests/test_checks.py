"""The checks of arguments: what they accept, and how they word what they reject."""

import math
import re

import pytest

from lightning_clip import _checks
from lightning_clip._checks import check_choice, check_count, check_each, check_flag, check_positive, check_rule

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
    """Numbers within the range pass, including its ends where the rule includes them."""
    for value in ACCEPTED[name]:
        getattr(_checks, name)("Some", limit=value)


@pytest.mark.parametrize("name", REFUSED)
def test_numbers_outside_the_rule_are_refused(name):
    """Numbers outside the range and NaN raise an error that quotes the call and states the rule."""
    for value in REFUSED[name]:
        with pytest.raises(ValueError, match=rf"^Some\(limit={re.escape(repr(value))}\): limit must be [^ ]+ .*\.$"):
            getattr(_checks, name)("Some", limit=value)


@pytest.mark.parametrize("name", ACCEPTED)
@pytest.mark.parametrize("value", ["1", None, True, [1.0]])
def test_what_is_no_number_is_refused(name, value):
    """Strings, `None`, booleans and lists raise a type error."""
    with pytest.raises(TypeError, match=r"^Some\(limit=.*\): limit must be"):
        getattr(_checks, name)("Some", limit=value)


def test_none_can_be_allowed():
    """With `or_none`, `None` passes, and numbers are still checked."""
    check_positive("Some", or_none=True, first=0.1, second=None)
    with pytest.raises(ValueError, match=r"^Some\(first=0\.0\): first must be a positive number\.$"):
        check_positive("Some", or_none=True, first=0.0, second=None)


def test_several_arguments_are_checked_in_order():
    """The error names the first wrong argument."""
    with pytest.raises(ValueError, match="second must be"):
        check_positive("Some", first=1.0, second=-1.0, third=-1.0)


def test_a_rule_raises_only_if_it_does_not_hold():
    """A rule that holds passes; another one raises an error with the call and the rule."""
    check_rule("Some(a=1)", "a must be 1", holds=True)
    with pytest.raises(ValueError, match=r"^Some\(a=2\): a must be 1\.$"):
        check_rule("Some(a=2)", "a must be 1", holds=False)


def test_a_flag_is_true_or_false():
    """Words, numbers and `None` raise a type error, although Python takes each of them for true or false."""
    check_flag("Some", first=True, second=False)
    check_flag("Some", or_none=True, first=None)
    for value in ("yes", "no", 0, 1.0, None, []):
        with pytest.raises(
            TypeError, match=rf"^Some\(first={re.escape(repr(value))}\): first must be True or False\.$"
        ):
            check_flag("Some", first=value)
    with pytest.raises(TypeError, match=r"first must be True, False or None\.$"):
        check_flag("Some", or_none=True, first="yes")


def test_counts_are_whole_numbers():
    """Whole numbers from the smallest allowed one on pass; floats, booleans, strings and `None` raise a type error."""
    check_count("Some", steps=1, rows=2)
    check_count("Some", at_least=0, steps=0)
    with pytest.raises(ValueError, match=r"^Some\(steps=1\): steps must be at least 2\.$"):
        check_count("Some", at_least=2, steps=1)
    with pytest.raises(ValueError, match=r"^Some\(rows=0\): rows must be at least 1\.$"):
        check_count("Some", steps=1, rows=0)
    for value in (1.0, True, "3", None):
        with pytest.raises(TypeError, match=r"steps must be a whole number"):
            check_count("Some", steps=value)


def test_choices_are_listed():
    """The error lists all choices."""
    check_choice("Some", ("a", "b"), way="a")
    with pytest.raises(ValueError, match=r"^Some\(way='c'\): way must be one of 'a', 'b'\.$"):
        check_choice("Some", ("a", "b"), way="c")


def test_each_member_is_checked():
    """The error quotes the wrong member, or the argument if it is not a collection."""
    check_each("Some", int, numbers=[1, 2])
    check_each("Some", int, numbers=())
    with pytest.raises(TypeError, match=r"^Some\(numbers=\[1, 'x'\]\): each must be a whole number, not 'x'\.$"):
        check_each("Some", int, numbers=[1, "x"])
    with pytest.raises(TypeError, match=r"^Some\(numbers=1\): numbers must be a list, each a whole number\.$"):
        check_each("Some", int, numbers=1)
