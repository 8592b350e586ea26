"""`OneLineParser`: a parser that tells what is wrong, and in which file, in one line."""

import os
import sys
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from jsonargparse import ArgumentParser, Namespace

from lightning_clip._errors import in_one_line


def refuse(message: str) -> int:
    """Print one line to standard error.

    Args:
        message: What is wrong and what to do instead.

    Returns:
        The exit code for input that cannot be used, 2.
    """
    sys.stderr.write(f"lightning-clip: {' '.join(message.split())}\n")
    return 2


class OneLineParser(ArgumentParser):
    """A parser whose errors are one line with exit code 2.

    jsonargparse makes further parsers of this class for the parts of a file, so the class keeps what they share.

    Attributes:
        command: The command that was typed.
        reading: The file that is being read, followed by a colon.
        values: Every text and path among the options of the command, from the command line and from files.
    """

    command: ClassVar[str] = ""
    reading: ClassVar[str] = ""
    values: ClassVar[set[str]] = set()

    @classmethod
    def names(cls, path: str) -> bool:
        """Whether the user named a file, or a folder that it lies in."""
        absolute = Path(os.path.abspath(path))
        return any(Path(os.path.abspath(value)) in (absolute, *absolute.parents) for value in cls.values if value)

    def parse_args(self, *args: Any, **kwargs: Any) -> Namespace:  # type: ignore[override]
        """Parse, and remember the texts and paths that were given."""
        parsed: Namespace = super().parse_args(*args, **kwargs)
        OneLineParser.values = {os.fspath(v) for v in _leaves(parsed) if isinstance(v, str | os.PathLike)}
        return parsed

    def parse_path(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Namespace:
        """Read a file, and name it in errors about it."""
        outer, OneLineParser.reading = OneLineParser.reading, f"{os.fspath(path)}: "
        try:
            parsed: Namespace = super().parse_path(path, *args, **kwargs)
            return parsed
        finally:
            OneLineParser.reading = outer

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the line and end with exit code 2."""
        line = f"{self.reading}{in_one_line(message)}. See `lightning-clip {self.command} --help`."
        raise SystemExit(refuse(line))


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, Namespace):
        return _leaves(vars(value))
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]
