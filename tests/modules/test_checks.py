"""What arguments of the modules are checked for."""

import pytest

from lightning_clip.modules.checks import check_choice, check_non_negative, check_positive, check_rule, check_whole


def test_a_rule_that_holds_is_silent():
    """Nothing is raised, and `None` counts as a positive number that is not given."""
    check_rule("f(a=1)", "a must be 1", holds=True)
    check_whole("f", a=1, b=2)
    check_positive("f", a=0.1, b=None)
    check_non_negative("f", a=0.0)
    check_choice("f", ["x", "y"], a="y")


@pytest.mark.parametrize(
    ("check", "arguments", "error", "message"),
    [
        (check_whole, {"a": 1.0}, TypeError, r"f\(a=1\.0\): a must be a whole number\."),
        (check_whole, {"a": True}, TypeError, r"f\(a=True\): a must be a whole number\."),
        (check_whole, {"a": 1, "b": 0}, ValueError, r"f\(b=0\): b must be positive\."),
        (check_positive, {"a": 0.0}, ValueError, r"f\(a=0\.0\): a must be a positive number\."),
        (check_positive, {"a": float("nan")}, ValueError, r"f\(a=nan\): a must be a positive number\."),
        (check_non_negative, {"a": -1}, ValueError, r"f\(a=-1\): a must be a number of at least 0\."),
    ],
)
def test_the_message_has_the_call_and_the_rule(check, arguments, error, message):
    """As it was typed, and what would have been right."""
    with pytest.raises(error, match=message):
        check("f", **arguments)


def test_the_choices_are_listed():
    """All of them."""
    with pytest.raises(ValueError, match=r"f\(a='z'\): a must be one of 'x', 'y'\."):
        check_choice("f", ["x", "y"], a="z")
