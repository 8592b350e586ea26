"""`encodable`: text in the characters that an output can write, with ASCII stand-ins for all others."""

import re
from functools import cache
from typing import Any, TextIO
from unicodedata import normalize

__all__ = ["EncodableStream", "encodable"]

_STAND_INS = {
    **dict.fromkeys("█▉▇▆", "#"),
    **dict.fromkeys("▅▄▋▊▌", "="),
    **dict.fromkeys("▏▎▍▃─━╸╺╴╶–—−╌", "-"),
    **{"▀": '"'},
    **dict.fromkeys("▁▂", "_"),
    **dict.fromkeys("│┃▕", "|"),
    **dict.fromkeys("┤├┼└┘┌┐┴┬", "+"),
    **dict.fromkeys("╭╮", "."),
    **dict.fromkeys("╰╯", "'"),
    **{"░": ":", "▲": "^", "→": "->", "←": "<-", "…": "...", "·": "*", "•": "*", "×": "x", "±": "+-", "≈": "~"},
    **{"≤": "<=", "≥": ">=", "²": "^2", "ⁿ": "^n", "ᵀ": "^T", "‖": "||", "∂": "d", "σ": "sigma", "ρ": "rho"},
    **{"λ": "lambda", "κ": "kappa", "τ": "tau", "ε": "eps", "β": "beta", "θ": "theta", "Σ": "Sigma", "Ω": "Omega"},
}  # fmt: skip
_GAP = 2  # the blanks that stay between two columns
_FURTHER_COLUMN = re.compile(rf"\S {{{_GAP},}}[^\s│|]")
"""Where it is found there is something at the right that has to stay in line."""


def encodable(text: str, encoding: str | None) -> str:
    """Replace the characters that an encoding lacks.

    Columns stay in line where there is room: a longer stand-in takes it from the blanks beside it.

    Args:
        text: Any text, with or without terminal colors.
        encoding: The encoding of the output; `None` if it takes every character.

    Returns:
        The text with an ASCII stand-in for each character that the encoding lacks, or `?`.

    Example:
        >>> print(encodable("σ max   ███▏ → 0.5 … as before", "ascii"))
        sigma max  ###- -> 0.5 ... as before
    """
    if encoding is None or _fits(text, encoding):
        return text
    return "\n".join(_line(line, encoding) for line in text.split("\n"))


class EncodableStream:
    """A stream that writes what its encoding lacks as ASCII, and is otherwise the stream that it wraps.

    Args:
        stream: An output such as `sys.stdout`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text; return the number of characters written.

        Args:
            text: Any text.
        """
        return self._stream.write(encodable(text, self._stream.encoding))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


@cache
def _stand_in(char: str, encoding: str) -> str:
    if _fits(char, encoding):
        return char
    plain = _STAND_INS.get(char) or normalize("NFKD", char).encode("ascii", "ignore").decode()
    return plain or ("?" if ord(char) > 127 else char)


def _line(line: str, encoding: str) -> str:
    written, longer = "", 0
    for place, char in enumerate(line):
        if char == " " and longer and written.endswith(" " * _GAP):
            longer -= 1
            continue
        stand_in = _stand_in(char, encoding)
        if (extra := len(stand_in) - 1) > 0:
            shorter = _narrow(written, extra) if _FURTHER_COLUMN.search(line, place) else written
            longer += extra - (len(written) - len(shorter))
            written = shorter
        written += stand_in
    return written


def _narrow(written: str, by: int) -> str:
    """Take blanks from the gap before the last column; those that indent the line, also in a frame, stay."""
    gaps = list(re.finditer(rf"(?<=[^\s|]) {{{_GAP + 1},}}", written))
    if not gaps or " " * _GAP in written[gaps[-1].end() :]:
        return written
    end = gaps[-1].end()
    return written[: end - min(by, end - gaps[-1].start() - _GAP)] + written[end:]
