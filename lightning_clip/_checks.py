"""Argument checks used in every layer: each raises an `ArgumentError` that quotes the call and states the rule."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from types import UnionType
from typing import Any

from lightning_clip._errors import ArgumentError, ArgumentTypeError


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """Find the name that was meant by one that does not exist.

    Args:
        given: What was given; upper case, `_` for `-` and blanks around it do not matter.
        known: The names that exist.

    Returns:
        The end of an error message; empty if no name is similar.

    Example:
        >>> did_you_mean("Compare ", ["compare", "report"]), did_you_mean("x", ["compare", "report"])
        ("; did you mean 'compare'?", '')
    """
    plain = {_plain(name): name for name in reversed(list(known))}
    found = get_close_matches(_plain(str(given)), plain, n=1, cutoff=0.65)
    return f"; did you mean {plain[found[0]]!r}?" if found else ""


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def subclasses(kind: type) -> Iterator[type]:
    """The subclasses of a class that have been imported, at any depth."""
    children: list[type] = kind.__subclasses__()
    for child in children:
        yield child
        yield from subclasses(child)


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


def check_flag(call: str, *, or_none: bool = False, **arguments: bool | None) -> None:
    """Raise unless every argument is `True` or `False`: any other value would pass for one; see `check_positive`."""
    for name, value in arguments.items():
        if not isinstance(value, bool) and not (or_none and value is None):
            choices = "True, False or None" if or_none else "True or False"
            raise ArgumentTypeError(f"{call}({name}={value!r}): {name} must be {choices}.")


def check_choice(call: str, choices: Iterable[Any], **arguments: Any) -> None:
    """Raise unless every argument is one of the choices; see `check_positive`."""
    allowed = list(choices)
    rule = f"must be one of {', '.join(repr(choice) for choice in allowed)}"
    for name, value in arguments.items():
        similar = did_you_mean(value, [choice for choice in allowed if isinstance(choice, str)])
        if value not in allowed:
            raise ArgumentError(f"{call}({name}={value!r}): {name} {rule}{similar or '.'}")


def check_instance(call: str, kind: type | UnionType, *, or_none: bool = False, **arguments: Any) -> None:
    """Raise unless every argument is an instance of a class.

    Args:
        call: The name of the class or function that was called, for instance `"Shadow"`.
        kind: The class.
        or_none: Whether `None` is allowed too.
        **arguments: The arguments by name.

    Raises:
        ArgumentTypeError: An argument is something else.
    """
    for name, value in arguments.items():
        if not isinstance(value, kind) and not (or_none and value is None):
            raise ArgumentTypeError(f"{call}({name}={value!r}): {name} must be {_a(kind)}.")


def check_each(call: str, kind: type | UnionType, *, at_least: int = 0, **arguments: Iterable[Any]) -> None:
    """Raise unless every argument is a collection of instances of a class.

    Args:
        call: The name of the class or function that was called, for instance `"Chain"`.
        kind: The class.
        at_least: The number of instances that are needed.
        **arguments: The arguments by name.

    Raises:
        ArgumentTypeError: An argument is not a collection, or a member is not an instance of the class.
        ArgumentError: There are too few.
    """
    for name, values in arguments.items():
        if not isinstance(values, Iterable) or isinstance(values, str | bytes | Mapping):
            raise ArgumentTypeError(f"{call}({name}={values!r}): {name} must be a list, each {_a(kind)}.")
        members = list(values)
        for value in members:
            if not isinstance(value, kind) or isinstance(value, type):
                raise ArgumentTypeError(f"{call}({name}={members!r}): each must be {_a(kind)}, not {value!r}.")
        check_rule(f"{call}({name}={members!r})", f"{name} needs at least {at_least}", holds=len(members) >= at_least)


def check_path(call: str, **arguments: Any) -> None:
    """Raise unless every argument is the path of a file: a string that is not empty, or an `os.PathLike`."""
    for name, value in arguments.items():
        if not isinstance(value, str | os.PathLike):
            raise ArgumentTypeError(f"{call}({name}={value!r}): {name} must be the path of a file.")
        is_one = bool(os.fspath(value)) and "\0" not in str(value)
        check_rule(f"{call}({name}={value!r})", f"{name} must be the path of a file", holds=is_one)


def _a(kind: type | UnionType) -> str:
    """A class in words, with its article."""
    name = _IN_WORDS.get(kind) or str(getattr(kind, "__name__", kind))
    return f"{'an' if name[0] in 'AEIOaeio' else 'a'} {name}"


_IN_WORDS: dict[type | UnionType, str] = {int: "whole number", int | float: "number", str: "string", Mapping: "mapping"}


def _check_numbers(call: str, rule: str, holds: Callable[[Any], bool], arguments: dict[str, Any]) -> None:
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ArgumentTypeError(f"{call}({name}={value!r}): {name} must be {rule}.")
        check_rule(f"{call}({name}={value!r})", f"{name} must be {rule}", holds=holds(value))
