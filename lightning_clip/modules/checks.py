"""Checks of constructor arguments: quote the call, state the rule."""

from collections.abc import Collection
from typing import Any


def check_rule(call: str, rule: str, *, holds: bool) -> None:
    """Raise unless a rule holds.

    Args:
        call: The call as typed, with the arguments that the rule is about.
        rule: The rule, for instance `"dropout must be at least 0 and below 1"`.
        holds: Whether it does.

    Raises:
        ValueError: It does not.
    """
    if not holds:
        raise ValueError(f"{call}: {rule}.")


def check_whole(name: str, **arguments: int) -> None:
    """Raise unless every argument is a positive whole number.

    Args:
        name: What was called, for instance `"RNNModule"`.
        **arguments: The arguments by name.

    Raises:
        TypeError: An argument is not a whole number.
        ValueError: An argument is not positive.
    """
    for argument, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name}({argument}={value!r}): {argument} must be a whole number.")
        check_rule(f"{name}({argument}={value!r})", f"{argument} must be positive", holds=value > 0)


def check_positive(name: str, **arguments: float | None) -> None:
    """Raise unless every argument is a positive number or `None`.

    Args:
        name: What was called, for instance `"RNNModule"`.
        **arguments: The arguments by name.

    Raises:
        ValueError: An argument is not positive.
    """
    for argument, value in arguments.items():
        call = f"{name}({argument}={value!r})"
        check_rule(call, f"{argument} must be a positive number", holds=value is None or value > 0)


def check_non_negative(name: str, **arguments: float) -> None:
    """Raise unless every argument is at least 0; see `check_positive`."""
    for argument, value in arguments.items():
        check_rule(f"{name}({argument}={value!r})", f"{argument} must be a number of at least 0", holds=value >= 0)


def check_choice(name: str, choices: Collection[str], **arguments: Any) -> None:
    """Raise unless every argument is one of the choices.

    Args:
        name: What was called, for instance `"RNNModule"`.
        choices: What it may be.
        **arguments: The arguments by name.

    Raises:
        ValueError: An argument is something else.
    """
    rule = f"must be one of {', '.join(repr(choice) for choice in choices)}"
    for argument, value in arguments.items():
        check_rule(f"{name}({argument}={value!r})", f"{argument} {rule}", holds=value in choices)
