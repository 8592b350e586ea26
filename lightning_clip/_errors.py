"""What is wrong with the user's input, in one line."""

import re


class InputError(ValueError):
    """Input that cannot be used; the message is all that the user needs, and is shown without a traceback."""


_NO_CLASS = re.compile(r"Expected a dot import path string: (\S+)")
_OUR_OWN = re.compile(r"\b[A-Z]\w*\(.*\): .*[a-z].*")
_NOISE = re.compile(r"Does not validate|Subtypes:|Errors:|Given value|Expected a <class 'NoneType'>|Problem with given")
_TYPE = re.compile(r"Expected an? <class '([\w.]+)'>")
_VALUE = re.compile(r"(?:Given|Got) value: (.+)")


def is_about_input(error: Exception) -> bool:
    """Whether input caused an error, and not a defect of the code that was run, which needs its traceback.

    Args:
        error: What was raised.

    Returns:
        True for unreadable files, what Lightning calls a misconfiguration (told by name, to leave Lightning unimported)
        and messages that begin with the call that they are about.

    Example:
        >>> is_about_input(ValueError("NormClip(max_norm=-1): max_norm must be a positive number."))
        True
        >>> is_about_input(ValueError("not enough values to unpack"))
        False
    """
    if isinstance(error, InputError | OSError | FloatingPointError):
        return True
    quotes_a_call = isinstance(error, ValueError | TypeError) and _OUR_OWN.match(str(error))
    return bool(quotes_a_call) or type(error).__name__ == "MisconfigurationException"


def line_about(error: Exception) -> str:
    """What to tell the user about an error.

    Args:
        error: What was raised.

    Returns:
        One line.

    Example:
        >>> line_about(FileNotFoundError(2, "No such file or directory", "runs/1"))
        'runs/1: No such file or directory'
    """
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def in_one_line(message: str) -> str:
    """The most precise statement of a message of jsonargparse, after the key that it is about.

    A union of types makes jsonargparse list why each of them fails; one of the reasons is what the user needs.

    Args:
        message: One or many lines.

    Returns:
        One line.

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
    for line in lines:
        if own := _OUR_OWN.search(line):
            return own[0]
    if lines and lines[0].startswith("Problems parsing config"):
        return " ".join(lines)
    precise = [re.sub(r'^Parser key "[\w.+]+": ?', "", line) for line in lines if not _NOISE.search(line)]
    return next((line for line in reversed(precise) if line), " ".join(lines))
