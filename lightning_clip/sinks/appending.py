"""`open_to_append`: opens a file that grows line by line and may have been cut off by a crash."""

from pathlib import Path
from typing import BinaryIO, TextIO

_CHUNK = 1 << 16


def open_to_append(path: Path) -> TextIO:
    """Open a text file to append lines; creates its folder and removes an incomplete last line.

    Args:
        path: The path of the file, which may not exist yet.

    Returns:
        The open file, positioned at its end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        with path.open("r+b") as file:
            file.truncate(_end_of_last_line(file))
    return path.open("a", encoding="utf-8", newline="")


def _end_of_last_line(file: BinaryIO) -> int:
    """Return the position after the last newline."""
    end = file.seek(0, 2)
    while end:
        start = max(0, end - _CHUNK)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
