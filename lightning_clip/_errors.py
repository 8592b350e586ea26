"""Errors that users can correct, and the one line that the command line prints for each."""

import os
import re
from collections.abc import Callable, Iterator
from typing import Any


class InputError(ValueError):
    """A file, option or configuration is invalid. The message alone tells the user what to do, without a traceback."""


class ArgumentError(InputError):
    """An argument is invalid. The message quotes the call, states the rule and names the remedy."""


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument has the wrong type."""


class NonFiniteError(FloatingPointError):
    """Training was stopped because gradients or weights became NaN or infinite."""


def line_about(error: BaseException, named: Callable[[str], bool]) -> str | None:
    """Return one line that tells the user about an error; `None` for a bug, which needs its traceback.

    Args:
        error: The exception that ended a command.
        named: A function that returns whether the user named a file, given its path. Errors about other files are bugs.

    Returns:
        One line for input errors, for operating system errors about files that the user named, and for Lightning's
        `MisconfigurationException` (matched by class name, to avoid importing Lightning).

    Example:
        >>> line_about(FileNotFoundError(2, "No such file or directory", "runs/1"), lambda path: path == "runs/1")
        'runs/1: No such file or directory'
        >>> line_about(ValueError("Foo(a, b): not enough values to unpack"), lambda path: True) is None
        True
    """
    if isinstance(error, OSError) and error.filename is not None and named(os.fspath(error.filename)):
        return f"{os.fspath(error.filename)}: {error.strerror}"
    return " ".join(str(error).split()) if is_known(error) else None


def is_known(error: BaseException) -> bool:
    """Return whether this package or Lightning raised an error because of invalid input."""
    return isinstance(error, InputError | NonFiniteError) or any(
        kind.__name__ == "MisconfigurationException" for kind in type(error).__mro__
    )


def record_constructor_errors(parser: Any) -> list[Exception]:
    """Make a parser record the exceptions of the constructors it calls; jsonargparse itself keeps only their text.

    Args:
        parser: A `jsonargparse.ArgumentParser`.

    Returns:
        A list to which each exception is appended.
    """
    raised: list[Exception] = []

    def instantiate(kind: Any, /, *args: Any, **kwargs: Any) -> Any:
        try:
            return kind(*args, **kwargs)
        except Exception as error:
            raised.append(error)
            raise

    parser.add_instantiator(instantiate, object)
    return raised


_NO_CLASS = re.compile(r"Expected a dot import path string: (\S+)")
_NOISE = re.compile(r"Does not validate|Subtypes:|Errors:|Given value|Expected a <class 'NoneType'>|Problem with given")
_TYPE = re.compile(r"Expected an? <class '([\w.]+)'>")
_VALUE = re.compile(r"(?:Given|Got) value: (.+)")


def in_one_line(message: str) -> str:
    """Reduce a message of jsonargparse to one line: the key and the most specific reason.

    For a union of types, jsonargparse lists why each type fails. The user needs only one of these reasons.

    Args:
        message: The message, one or more lines.

    Returns:
        The key and the reason, in one line.

    Example:
        >>> lines = ['Parser key "model":', "  Problem with given class_path:", "    Option width is not accepted"]
        >>> in_one_line(chr(10).join(lines))
        'model: Option width is not accepted'
    """
    lines = [re.sub(r"^[\s-]+ ", "", line).strip().rstrip(".") for line in message.splitlines()]
    keys = re.findall(r'Parser key "([\w.+]+)"', message)
    reason = _reason([line for line in lines if line])
    if (expected := _TYPE.match(reason)) and (found := _VALUE.search(message)):
        reason = f"expected {expected[1]}, found {found[1]}"
    return f"{keys[-1]}: {reason}" if keys and keys[-1] not in reason else reason


def _reason(lines: list[str]) -> str:
    for line in lines:
        if missing := _NO_CLASS.search(line):
            return f"there is no class {missing[1].rstrip('.')!r}"
    if lines and lines[0].startswith("Problems parsing config"):
        return " ".join(lines)
    return next(reversed(list(_precise(lines))), " ".join(lines))


def _precise(lines: list[str]) -> Iterator[str]:
    for line in lines:
        text = re.sub(r'^Parser key "[\w.+]+": ?', "", line)
        if text and not _NOISE.search(line):
            yield text
