"""`open_to_append` and `write_now`: a file that grows line by line and belongs to one run and one process."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from lightning_clip._errors import InputError

try:
    import fcntl
except ModuleNotFoundError:  # Windows: files are not locked there
    fcntl = None  # type: ignore[assignment]

_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 26


def open_to_append(path: Path, check_first_line: Callable[[bytes], None]) -> TextIO:
    """Open a text file to append lines; creates its folder and removes an incomplete last line.

    Nothing is written or removed before the first line has been checked and the file is locked.

    Args:
        path: The path of the file, which may not exist yet.
        check_first_line: Raises an `InputError` if the file belongs to something else; not called for an empty file.

    Returns:
        The open file, positioned at its end.

    Raises:
        InputError: The file belongs to something else, or another process is writing it.
        OSError: The file cannot be opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+b")
    try:
        _lock(file, path)
        file.seek(0)
        first = file.readline(_LONGEST_LINE)
        if first:
            check_first_line(first)
            file.truncate(_end_of_last_line(file))
        file.seek(0, 2)
        return TextIOWrapper(file, encoding="utf-8", newline="")  # of the same open file, which holds the lock
    except BaseException:
        file.close()
        raise


def write_now(file: TextIO, text: str) -> None:
    """Write text through to the operating system; if that fails, close the file, which also unlocks it.

    Args:
        file: The file.
        text: Complete lines.

    Raises:
        OSError: The text, or a part of it, could not be written, or somebody has removed the file.
    """
    try:
        if not os.fstat(file.fileno()).st_nlink:
            raise FileNotFoundError(errno.ENOENT, "the file has been removed while it was being written")
        file.write(text)
        file.flush()
    except OSError:
        with suppress(OSError):  # closing tries to write what is left
            file.close()
        raise


def _lock(file: Any, path: Path) -> None:
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"{path}: another run is writing this file; give this one a path of its own.") from error


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
