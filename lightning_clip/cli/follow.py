"""`follow`: the report of a run that is still being recorded, drawn again whenever its record grows."""

import time
from pathlib import Path

from rich.live import Live
from rich.text import Text

from lightning_clip._errors import InputError
from lightning_clip.cli.report import console_of
from lightning_clip.reports.record import load_record

_LAST_LINE = b'{"totals"'
_BLOCK_BYTES = 1 << 16


def follow(path: Path, *, width: int | None = None, seconds: float = 1.0, max_parameters: int | None = None) -> None:
    """Show the report of a run until the run ends.

    On a terminal it is redrawn in place, as far as it fits there, and the last one is shown whole; elsewhere only the
    last report is printed.

    Args:
        path: The `.jsonl` record of the run. It need not exist yet.
        width: Characters per line; those of the terminal by default.
        seconds: How long to wait between looks at the file.
        max_parameters: The number of parameters to list; by default, those with the largest share.

    Raises:
        InputError: The file contains something else, or is a folder.
    """
    if path.is_dir():
        raise InputError(f"{path}: --follow takes the record of one run, which is a .jsonl file, not a folder.")
    console, seen = console_of(width), -1
    with Live(Text(f"Waiting for {path} …"), console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        while True:
            size = path.stat().st_size if path.exists() else 0
            if size not in (0, seen):
                seen = size
                live.update(load_record(path).report(max_parameters=max_parameters), refresh=console.is_terminal)
                if _has_ended(path):
                    return
            time.sleep(seconds)


def _has_ended(path: Path) -> bool:
    """Whether the last complete line is the one that a run writes at its end."""
    with path.open("rb") as file:
        position, tail = file.seek(0, 2), b""
        while position and tail.count(b"\n") < 2:
            start = max(0, position - _BLOCK_BYTES)
            file.seek(start)
            tail, position = file.read(position - start) + tail, start
    lines = tail.split(b"\n")
    return len(lines) > 1 and lines[-2].startswith(_LAST_LINE) and not lines[-1]
