"""Argument checks used in every layer: each raises an `ArgumentError` that quotes the call and states the rule."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from lightning_clip._errors import ArgumentError, ArgumentTypeError


def check_rule(call: str, rule: str, *, holds: bool) -> None:
    """Raise unless a rule holds.

    Args:
        call: The call as the user typed it, with the arguments that the rule is about.
        rule: The rule, for instance `"dropout must be at least 0 and below 1"`.
        holds: Whether the rule holds.

    Raises:
        ArgumentError: The rule does not hold.
    """
    if not holds:
        raise ArgumentError(f"{call}: {rule}.")


def check_positive(call: str, *, or_none: bool = False, **arguments: float | None) -> None:
    """Raise unless every argument is a positive number (`inf` counts, NaN does not).

    Args:
        call: The name of the class or function that was called, for instance `"NormClip"`.
        or_none: Whether `None` is allowed too.
        **arguments: The arguments by name.

    Raises:
        ArgumentTypeError: An argument is not a number.
        ArgumentError: An argument is not positive.
    """
    given = {name: value for name, value in arguments.items() if not (or_none and value is None)}
    _check_numbers(call, "a positive number", lambda value: value > 0, given)


def check_positive_finite(call: str, **arguments: float) -> None:
    """Raise unless every argument is a positive number other than `inf`; see `check_positive`."""
    _check_numbers(call, "a positive, finite number", lambda value: 0 < value < math.inf, arguments)


def check_non_negative(call: str, **arguments: float) -> None:
    """Raise unless every argument is a finite number of at least 0; see `check_positive`."""
    _check_numbers(call, "a number of at least 0", lambda value: 0 <= value < math.inf, arguments)


def check_fraction(call: str, **arguments: float) -> None:
    """Raise unless every argument is in [0, 1]; see `check_positive`."""
    _check_numbers(call, "a number between 0 and 1", lambda value: 0 <= value <= 1, arguments)


def check_percentile(call: str, **arguments: float) -> None:
    """Raise unless every argument is in [0, 100]; see `check_positive`."""
    _check_numbers(call, "a number between 0 and 100", lambda value: 0 <= value <= 100, arguments)


def check_decay(call: str, **arguments: float) -> None:
    """Raise unless every argument is in [0, 1), like the decay of a moving average; see `check_positive`."""
    _check_numbers(call, "at least 0 and below 1", lambda value: 0 <= value < 1, arguments)


def check_count(call: str, *, at_least: int = 1, **arguments: int) -> None:
    """Raise unless every argument is a whole number of at least `at_least`; see `check_positive`."""
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise ArgumentTypeError(f"{call}({name}={value!r}): {name} must be a whole number.")
        check_rule(f"{call}({name}={value!r})", f"{name} must be at least {at_least}", holds=value >= at_least)


def check_choice(call: str, choices: Iterable[Any], **arguments: Any) -> None:
    """Raise unless every argument is one of the choices; see `check_positive`."""
    allowed = list(choices)
    rule = f"must be one of {', '.join(repr(choice) for choice in allowed)}"
    for name, value in arguments.items():
        check_rule(f"{call}({name}={value!r})", f"{name} {rule}", holds=value in allowed)


def check_each(call: str, kind: type, **arguments: Iterable[Any]) -> None:
    """Raise unless every argument is a collection of instances of a class.

    Args:
        call: The name of the class or function that was called, for instance `"Chain"`.
        kind: The class.
        **arguments: The arguments by name.

    Raises:
        ArgumentTypeError: An argument is not a collection, or a member is not an instance of the class.
    """
    for name, values in arguments.items():
        if not isinstance(values, Iterable):
            raise ArgumentTypeError(f"{call}({name}={values!r}): {name} must be a list of {kind.__name__} instances.")
        for value in values:
            if not isinstance(value, kind):
                raise ArgumentTypeError(f"{call}({name}=…): each must be a {kind.__name__} instance, not {value!r}.")


def _check_numbers(call: str, rule: str, holds: Callable[[Any], bool], arguments: dict[str, Any]) -> None:
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ArgumentTypeError(f"{call}({name}={value!r}): {name} must be {rule}.")
        check_rule(f"{call}({name}={value!r})", f"{name} must be {rule}", holds=holds(value))
