"""Long messages of parsers, in one line."""

import re

_NO_CLASS = re.compile(r"Expected a dot import path string: (\S+)")
_OUR_OWN = re.compile(r"\b[A-Z]\w*\(.*\): .*[a-z].*")
_NOISE = re.compile(r"Does not validate|Subtypes:|Errors:|Given value|Expected a <class 'NoneType'>|Problem with given")


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
    lines = [line.strip(" -").rstrip(". ") for line in message.splitlines()]
    keys = re.findall(r'Parser key "([\w.+]+)"', message)
    reason = _reason([line for line in lines if line])
    return f"{keys[-1]}: {reason}" if keys and keys[-1] not in reason else reason


def _reason(lines: list[str]) -> str:
    for line in lines:
        if missing := _NO_CLASS.search(line):
            return f"there is no class {missing[1].rstrip('.')!r}"
    for line in lines:
        if own := _OUR_OWN.search(line):
            return own[0]
    precise = [re.sub(r'^Parser key "[\w.+]+": ?', "", line) for line in lines if not _NOISE.search(line)]
    return next((line for line in reversed(precise) if line), " ".join(lines))
