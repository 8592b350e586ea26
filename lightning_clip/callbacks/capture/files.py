"""`CaptureFiles`: writes captures into a folder, new files only, up to a limit."""

from pathlib import Path
from typing import Any

import torch

from lightning_clip._errors import InputError
from lightning_clip.callbacks.capture.plain import size_of

FORMAT = "lightning-clip bad step"
"""What `"format"` says in a capture."""

VERSION = 1
"""The version of the form: it changes when a key is renamed or removed, not when one is added."""


class CaptureFiles:
    """The captures that a run has written.

    Args:
        folder: The folder; it is created for the first file.
        max_bytes: The largest size of all files together.
        count: The number of files written before.
        size: Their size, in bytes.
    """

    def __init__(self, folder: Path, max_bytes: int, count: int = 0, size: int = 0) -> None:
        self.folder = folder
        self.count = count
        self.size = size
        self._max_bytes = max_bytes

    def write(self, payload: dict[str, Any], name: str) -> Path:
        """Write a capture to a file that did not exist.

        Args:
            payload: Tensors on the CPU and plain types.
            name: The name of the file, without its suffix.

        Returns:
            The path.

        Raises:
            InputError: The limit would be exceeded.
            OSError: The file cannot be written; nothing is left of it.
        """
        size = size_of(payload)
        if self.size + size > self._max_bytes:
            raise InputError(
                f"{name} would take {size:,} bytes, which exceeds max_bytes={self._max_bytes:,} with the "
                f"{self.size:,} bytes written before; set a larger max_bytes"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._new(name)
        try:
            with path.open("wb") as file:
                torch.save({"format": FORMAT, "version": VERSION, **payload}, file)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self.count += 1
        self.size += size
        return path

    def _new(self, name: str) -> Path:
        """Create an empty file of a name that is free."""
        number = 0
        while True:
            path = self.folder / (f"{name}-{number}.pt" if number else f"{name}.pt")
            try:
                path.touch(exist_ok=False)
            except FileExistsError:
                number += 1
            else:
                return path
