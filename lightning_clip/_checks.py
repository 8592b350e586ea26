"""Checks of constructor arguments: quote the call, state the rule."""

import math
from collections.abc import Iterable, Sequence
from typing import Any


def check_positive(call: str, **arguments: float) -> None:
    """Raise unless every argument is a positive number (`inf` counts, NaN does not).

    Args:
        call: What was called, for instance `"NormClip"`.
        **arguments: The arguments by name.

    Raises:
        TypeError: An argument is not a number.
        ValueError: An argument is not positive.
    """
    for name, value in arguments.items():
        _check(call, name, value, value_is_fine=lambda v: v > 0, rule="a positive number")


def check_positive_finite(call: str, **arguments: float) -> None:
    """Raise unless every argument is a positive number other than `inf`; see `check_positive`."""
    for name, value in arguments.items():
        _check(call, name, value, value_is_fine=lambda v: 0 < v < math.inf, rule="a positive, finite number")


def check_non_negative(call: str, **arguments: float) -> None:
    """Raise unless every argument is a finite number of at least 0; see `check_positive`."""
    for name, value in arguments.items():
        _check(call, name, value, value_is_fine=lambda v: 0 <= v < math.inf, rule="a number of at least 0")


def check_fraction(call: str, **arguments: float) -> None:
    """Raise unless every argument is in [0, 1]; see `check_positive`."""
    for name, value in arguments.items():
        _check(call, name, value, value_is_fine=lambda v: 0 <= v <= 1, rule="a number between 0 and 1")


def check_percentile(call: str, **arguments: float) -> None:
    """Raise unless every argument is in [0, 100]; see `check_positive`."""
    for name, value in arguments.items():
        _check(call, name, value, value_is_fine=lambda v: 0 <= v <= 100, rule="a number between 0 and 100")


def check_decay(call: str, **arguments: float) -> None:
    """Raise unless every argument is in [0, 1), as the decay of a moving average; see `check_positive`."""
    for name, value in arguments.items():
        _check(call, name, value, value_is_fine=lambda v: 0 <= v < 1, rule="at least 0 and below 1")


def check_count(call: str, *, at_least: int = 1, **arguments: int) -> None:
    """Raise unless every argument is a whole number of at least `at_least`; see `check_positive`."""
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{call}({name}={value!r}): {name} must be a whole number.")
        if value < at_least:
            raise ValueError(f"{call}({name}={value!r}): {name} must be at least {at_least}.")


def check_choice(call: str, choices: Sequence[Any], **arguments: Any) -> None:
    """Raise unless every argument is one of the choices; see `check_positive`."""
    for name, value in arguments.items():
        if value not in choices:
            listed = ", ".join(repr(choice) for choice in choices)
            raise ValueError(f"{call}({name}={value!r}): {name} must be one of {listed}.")


def check_each(call: str, kind: type, **arguments: Iterable[Any]) -> None:
    """Raise unless every argument is a collection of instances of a class.

    Args:
        call: What was called, for instance `"Chain"`.
        kind: The class.
        **arguments: The arguments by name.

    Raises:
        TypeError: An argument is not a collection, or one of its members is something else.
    """
    for name, values in arguments.items():
        if not isinstance(values, Iterable):
            raise TypeError(f"{call}({name}={values!r}): {name} must be a list of {kind.__name__} instances.")
        for value in values:
            if not isinstance(value, kind):
                raise TypeError(f"{call}({name}=…): each must be a {kind.__name__} instance, not {value!r}.")


def _check(call: str, name: str, value: Any, *, value_is_fine: Any, rule: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{call}({name}={value!r}): {name} must be {rule}.")
    if not value_is_fine(value):
        raise ValueError(f"{call}({name}={value!r}): {name} must be {rule}.")
