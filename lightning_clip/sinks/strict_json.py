"""`encoded`: plain data as one line of standard JSON, in which NaN and infinity are strings."""

import json
import math
from typing import Any

_encode = json.JSONEncoder(allow_nan=False).encode


def encoded(line: dict[str, Any]) -> str:
    """Encode plain data.

    Args:
        line: Strings, numbers, lists and dictionaries.

    Returns:
        One line of JSON, with `"nan"`, `"inf"` and `"-inf"` for the numbers that JSON lacks.

    Example:
        >>> encoded({"norm": float("inf"), "step": 3})
        '{"norm": "inf", "step": 3}'
    """
    try:
        return _encode(line)
    except ValueError:  # the line contains NaN or infinity
        return _encode(_strict(line))


def _strict(value: Any) -> Any:
    """Return the value with NaN and infinity as strings."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return value
