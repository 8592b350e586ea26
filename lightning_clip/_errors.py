"""The errors that a user can fix, and the one line that the command line prints for each of them."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any

_LIGHTNING = {"lightning", "lightning_fabric", "pytorch_lightning"}


class InputError(ValueError):
    """A file, an option or a configuration that cannot be used. The message is all the user needs."""


class ArgumentError(InputError):
    """An argument with a bad value. The message quotes the call, states the rule and names the remedy."""


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument has the wrong type."""


class NonFiniteError(FloatingPointError):
    """Raised by a guard that ends training on a NaN or infinite gradient or weight."""


def printable(text: str) -> str:
    r"""Show what a terminal would obey or hide: control characters, and marks that turn the direction of a text.

    Args:
        text: Any text; line breaks stay.

    Returns:
        The text with an escape such as `\x1b` for each of these characters.

    Example:
        >>> printable("\x1b[31mred")
        '\\x1b[31mred'
    """
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


_UNSAFE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def reason_of(error: BaseException) -> str:
    """Return what an exception says, in one line, for a warning; the name of its class if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def line_about(error: BaseException, named: Callable[[str], bool]) -> str | None:
    """Describe an error that the user can fix in one line.

    Args:
        error: The exception that ended a command.
        named: Returns whether the user named the file at a path. An error about any other file is a bug.

    Returns:
        One line for our input errors, for Lightning's `MisconfigurationException`, and for operating system errors
        about a file that the user named. `None` for any other exception: it is a bug and needs its traceback.

    Example:
        >>> line_about(FileNotFoundError(2, "No such file or directory", "runs/1"), lambda path: path == "runs/1")
        'runs/1: No such file or directory'
        >>> line_about(OSError(28, "No space left on device", "/tmp/part", None, "a.ckpt"), "a.ckpt".__eq__)
        'a.ckpt: No space left on device'
        >>> line_about(ValueError("Foo(a, b): not enough values to unpack"), lambda path: True) is None
        True
    """
    if is_known(error):
        return printable(" ".join(str(error).split()))
    if isinstance(error, OSError) and error.strerror:
        files = [file for file in (error.filename2, error.filename) if isinstance(file, str | bytes | os.PathLike)]
        path = next((path for path in map(os.fsdecode, files) if named(path)), None)
        return printable(f"{path}: {error.strerror}") if path is not None else None
    return None


def is_known(error: BaseException) -> bool:
    """Whether this package or Lightning raised an error because its input cannot be used."""
    return isinstance(error, InputError | NonFiniteError) or any(
        kind.__name__ == "MisconfigurationException" and kind.__module__.partition(".")[0] in _LIGHTNING
        for kind in type(error).__mro__  # told by its name, so that Lightning need not be imported
    )


def is_from_lightning(error: BaseException) -> bool:
    """Whether Lightning's own code raised an error, rather than code that Lightning called."""
    return _origin(error) in _LIGHTNING


def constructor_error(error: Exception, raised: Sequence[Exception]) -> Exception | None:
    """Return the exception that made `jsonargparse` fail to build an object.

    `jsonargparse` replaces what a constructor raises by an error of its own wherever the type is a union, for instance
    `ClipStrategy | None`.

    Args:
        error: The exception that `instantiate` raised.
        raised: What the constructors raised, as recorded by `recording`.

    Returns:
        The exception with the traceback into the constructor; `None` if `jsonargparse` itself refused the
        configuration.
    """
    if _origin(error) != "jsonargparse":
        return error
    return raised[0] if raised else None


def construct(kind: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Build an object as `jsonargparse` does by default."""
    return kind(*args, **kwargs)


def recording(raised: list[Exception], build: Callable[..., Any] = construct) -> Callable[..., Any]:
    """Make an instantiator that records what constructors raise.

    Args:
        raised: The list that each exception is appended to.
        build: The instantiator that builds the object.

    Returns:
        An instantiator for `ArgumentParser.instantiate`, with the signature of `build`.
    """

    @wraps(build)
    def instantiate(*args: Any, **kwargs: Any) -> Any:
        try:
            return build(*args, **kwargs)
        except Exception as error:
            raised.append(error)
            raise

    return instantiate


def _origin(error: BaseException) -> str:
    """Return the top-level package whose code raised an error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name: str = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
    return name.partition(".")[0]


_NO_CLASS = re.compile(r"Expected a dot import path string: (\S+)")
_NOISE = re.compile(r"Does not validate|Subtypes:|Errors:|Given value|Expected a <class 'NoneType'>|Problem with given")
_NO_MODULE = re.compile(r"^No module named '([\w.]+)'")
_CLASS_PATH = re.compile(r"Problem with given class_path '([\w.]+)'")
_LITERAL = re.compile(r"Expected an? typing\.Literal\[(.*)\]$")
_TYPE = re.compile(r"Expected an? <class '([\w.]+)'>")
_SUBCLASS = re.compile(r"Import path does not correspond to a subclass of (\w+)$")
_LEAST = {"PositiveInt": 1, "NonNegativeInt": 0}
_RESTRICTED = re.compile(r"Not of type (\w+Int): (?:invalid literal .*: )?(.+?)(?: does not conform .*)?$")
_VALUE = re.compile(r"(?:Given|Got) value: (.+)")


def in_one_line(message: str) -> str:
    """Pick the most precise statement from a message of `jsonargparse`, and put the key it is about in front.

    For a union of types, `jsonargparse` lists why each type fails. One of these reasons is what the user needs.

    Args:
        message: The message, of one or more lines.

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
    found = _VALUE.search(message)
    if (expected := _TYPE.match(reason)) and found:
        reason = f"expected {expected[1]}, found {found[1]}"
    elif (expected := _SUBCLASS.match(reason)) and found:
        named = _CLASS_PATH.search(message) or found
        reason = f"{named[1]} is not a subclass of {expected[1]}"
    elif restricted := _RESTRICTED.match(reason):
        reason = f"expected a whole number of at least {_LEAST[restricted[1]]}, found {restricted[2]}"
    return f"{keys[-1]}: {reason}" if keys and keys[-1] not in reason else reason


def _reason(lines: list[str]) -> str:
    if len(lines) > 1 and lines[-1].startswith("Given value: ") and (choices := _choices(lines)):
        return f"expected one of {choices}, found {lines[-1].removeprefix('Given value: ')}"
    for line in lines:
        if (module := _NO_MODULE.search(line)) and (path := _CLASS_PATH.search(" ".join(lines))):
            missing_module = module[1].partition(".")[0]
            place = f"; put it into {missing_module}.py in the working folder, or install it"
            return f"there is no class {path[1]!r}: no module named {module[1]!r}{place}"
        if missing := _NO_CLASS.search(line):
            return f"there is no class {missing[1].rstrip('.')!r}"
    if lines and lines[0].startswith("Problems parsing config"):
        return " ".join(lines)
    return next(reversed(list(_precise(lines))), " ".join(lines))


def _choices(lines: list[str]) -> str:
    """The choices where every type of a union is a literal; empty otherwise."""
    literals = [found[1] for line in lines if (found := _LITERAL.search(line))]
    others = [line for line in _precise(lines) if not _LITERAL.search(line)]
    return "" if others else ", ".join(dict.fromkeys(literals))


def _precise(lines: list[str]) -> Iterator[str]:
    for line in lines:
        text = re.sub(r'^Parser key "[\w.+]+": ?', "", line)
        if text and not _NOISE.search(line):
            yield text
