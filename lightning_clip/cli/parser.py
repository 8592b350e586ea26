"""`OneLineParser`: a parser that reports a mistake in one line, with the name of the file it is in."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from jsonargparse import ArgumentParser, Namespace

from lightning_clip._errors import in_one_line, recording


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
    """A parser that prints one line for an error and exits with code 2.

    jsonargparse makes more parsers of this class for the parts of a file, so the class holds what they share.

    Attributes:
        command: The command that the user typed.
        reading: The file that is being read, followed by a colon.
        given: Every text and path that the user gave as an option, on the command line or in a file; no defaults.
        raised: The exceptions that constructors raised.
    """

    command: ClassVar[str] = ""
    reading: ClassVar[str] = ""
    given: ClassVar[set[str]] = set()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.raised: list[Exception] = []
        self._instantiators_of_lightning: list[tuple[Callable[..., Any], type, bool]] = []

    @classmethod
    def begin(cls, command: str) -> None:
        """Forget what an earlier command left behind.

        Args:
            command: The command that the user typed.
        """
        OneLineParser.command, OneLineParser.reading, OneLineParser.given = command, "", set()

    @classmethod
    def names(cls, path: str) -> bool:
        """Whether the user named a file, or a folder that contains it."""
        absolute = Path(os.path.abspath(path))
        return any(Path(os.path.abspath(text)) in (absolute, *absolute.parents) for text in cls.given if text)

    def parse_args(self, *args: Any, **kwargs: Any) -> Namespace:  # type: ignore[override]
        """Parse, and remember the texts and paths that the user gave."""
        parsed: Namespace = super().parse_args(*args, **kwargs)
        given = super().parse_args(*args, **{**kwargs, "defaults": False})
        OneLineParser.given = {os.fspath(leaf) for leaf in _leaves(given) if isinstance(leaf, str | os.PathLike)}
        return parsed

    def parse_path(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Namespace:
        """Read a file, and name it in errors about it."""
        outer, OneLineParser.reading = OneLineParser.reading, f"{os.fspath(path)}: "
        try:
            parsed: Namespace = super().parse_path(path, *args, **kwargs)
            return parsed
        finally:
            OneLineParser.reading = outer

    def add_instantiator(self, instantiator: Callable[..., Any], class_type: type, subclasses: bool = True) -> None:
        """Use a function to build the objects of a class; the first function that matches the class is used.

        LightningCLI calls this, to save hyperparameters. The same method of jsonargparse is deprecated.

        Args:
            instantiator: Called with the class and its arguments.
            class_type: The class.
            subclasses: Whether the function also builds subclasses.
        """
        self._instantiators_of_lightning.append((recording(self.raised, instantiator), class_type, subclasses))

    def instantiate(self, *args: Any, **kwargs: Any) -> Namespace:
        """Build the objects, and record in `raised` what their constructors raise."""
        if self._instantiators_of_lightning:  # otherwise this parser is for a part, and records with the whole
            instantiators = [*self._instantiators_of_lightning, (recording(self.raised), object, True)]
            kwargs.setdefault("instantiators", instantiators)
        made: Namespace = super().instantiate(*args, **kwargs)
        return made

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one line and exit with code 2."""
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
