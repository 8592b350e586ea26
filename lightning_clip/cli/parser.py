"""`OneLineParser`: a parser that reports a mistake in one line, with the name of the file it is in."""

import io
import os
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import partial, reduce
from operator import or_
from pathlib import Path
from typing import Any, ClassVar, NoReturn, get_args

from jsonargparse import ArgumentParser, Namespace

from lightning_clip._checks import did_you_mean
from lightning_clip._errors import InputError, in_one_line, printable, recording
from lightning_clip.studies.yaml_text import read_yaml_text


def refuse(message: str) -> int:
    """Print one line to standard error.

    Args:
        message: What is wrong and what to do instead.

    Returns:
        The exit code for input that cannot be used, 2.
    """
    line = f"lightning-clip: {printable(' '.join(message.split()))}\n"
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    sys.stderr.write(line.encode(encoding, "backslashreplace").decode(encoding))
    return 2


class OneLineParser(ArgumentParser):
    """A parser that prints one line for an error and exits with code 2.

    jsonargparse makes more parsers of this class for the parts of a file, so the class holds what they share.

    Attributes:
        command: The command that the user typed.
        reading: The file that is being read, followed by a colon.
        words: The words after the command.
        files: The files that were read, with their text.
        given: Returns every text and path that the user gave, on the command line or in a file; no defaults.
        raised: The exceptions that constructors raised.
    """

    command: ClassVar[str] = ""
    reading: ClassVar[str] = ""
    files: ClassVar[dict[str, str]] = {}
    words: ClassVar[list[str]] = []
    given: ClassVar[Callable[[], set[str]]] = set

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.raised: list[Exception] = []
        self._instantiators_of_lightning: list[tuple[Callable[..., Any], type, bool]] = []

    @classmethod
    def begin(cls, command: str, *words: str) -> None:
        """Forget what an earlier command left behind.

        Args:
            command: The command that the user typed.
            *words: The words after it.
        """
        OneLineParser.command, OneLineParser.words, OneLineParser.reading = command, list(words), ""
        OneLineParser.files, OneLineParser.given = {}, set

    @classmethod
    def names(cls, path: str) -> bool:
        """Whether the user named a file, or a folder that contains it."""
        absolute = Path(os.path.abspath(path))
        return any(Path(os.path.abspath(text)) in (absolute, *absolute.parents) for text in cls.given() if text)

    def parse_args(self, *args: Any, **kwargs: Any) -> Namespace:  # type: ignore[override]
        """Parse, and remember how to find out what the user gave: only some errors ask, and it takes as long again."""
        _whole_numbers_first(self)
        parsed: Namespace = super().parse_args(*args, **kwargs)
        parse_again = partial(super().parse_args, *args, **{**kwargs, "defaults": False})
        OneLineParser.given = lambda: _texts(parse_again)
        return parsed

    def parse_path(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Namespace:
        """Read a file, and name it in errors about it."""
        if Path(path).is_file() and Path(path).suffix != ".json":  # tabs are fine in JSON, and not in YAML
            OneLineParser.files[os.fspath(path)] = read_yaml_text(path)
        outer, OneLineParser.reading = OneLineParser.reading, f"{os.fspath(path)}: "
        try:
            parsed: Namespace = super().parse_path(path, *args, **kwargs)
            return parsed
        finally:
            OneLineParser.reading = outer

    def dump(self, *args: Any, **kwargs: Any) -> str:
        """Write what has been parsed, which is therefore valid, without a second check."""
        text: str = super().dump(*args, **{"skip_validation": True, **kwargs})
        return text

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
        line = self._suggesting(in_one_line(message))
        end = "" if line.endswith("?") else "."
        raise SystemExit(refuse(f"{line}{end} See `lightning-clip {self.command} --help`."))

    def _suggesting(self, line: str) -> str:
        """Add the file that a message is about, and the name that was probably meant."""
        if missing := _MISSING.search(line):
            return self._missing(missing[1])
        if (word := _UNKNOWN_WORD.search(line)) and "--config" in _names(self, with_dashes=True):
            return f"{line}; did you mean --config {word[1]}?"
        if unknown := _UNKNOWN_OPTION.search(line):
            return line + did_you_mean(unknown[1], _names(self, with_dashes=True))
        if choice := _INVALID_CHOICE.search(line):
            return line + did_you_mean(choice[1], re.findall(r"'([^']*)'", choice[2]))
        if key := _UNKNOWN_KEY.search(line):
            last = re.compile(rf"\b{key[1].partition('.')[0]}\b")
            place = next((f"{path}: " for path, text in self.files.items() if last.search(text)), "")
            return f"{place}{line}{did_you_mean(key[1], _names(self, with_dashes=False))}"
        if self.command in _TAKE_CLASSES:  # other parsers know no classes, and this takes a second
            from lightning_clip.studies.similar import with_suggestion

            line = with_suggestion(line, self._given_classes())
        return self.reading + line

    def _missing(self, key: str) -> str:
        """Say what to name where a word or an option is missing."""
        word = next((action for action in self._actions if action.dest == key and not action.option_strings), None)
        if word is None:
            return f"{self.command}: name a class with --{key.rpartition('.')[2]}, or a file that has one with --config"
        choices = f": {', '.join(word.choices)}" if word.choices else ""
        return f"{self.command}: name {word.help}{choices}"

    def _given_classes(self) -> list[Any] | None:
        """The classes that the user named on the command line or in the files, as configurations."""
        texts = [*self.words, *self.files.values()]
        return [{"class_path": name} for text in texts for name in re.findall(r"\w+", text)] or None


_TAKE_CLASSES = ("fit", "validate", "test", "predict", "suggest", "replay")
_MISSING = re.compile(r"arguments are required: ([\w.]+)")
_UNKNOWN_WORD = re.compile(r"unrecognized arguments: ([^-\s]\S*)$")
_UNKNOWN_OPTION = re.compile(r"unrecognized arguments: (--[\w.+-]+)")
_INVALID_CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)")
_UNKNOWN_KEY = re.compile(r"does not accept option '([\w.]+)'")


def _names(parser: Any, *, with_dashes: bool) -> list[str]:
    """The options of a parser and of its commands, as they are typed or as they are written in a file."""
    found: list[str] = []
    for action in parser._actions:
        found += action.option_strings if with_dashes else [action.dest]
        for inner in (getattr(action, "_name_parser_map", None) or {}).values():
            found += _names(inner, with_dashes=with_dashes)
    return found


def _whole_numbers_first(parser: Any) -> None:
    """Try `int` before `float` where an option takes both, so that `1` stays one batch and does not become all of them.

    `Optional[Union[int, float]]` may be the object that an earlier `Optional[Union[float, int]]` has left in the cache
    of `typing`: which of them the Trainer has depends on what was imported before it.
    """
    for action in parser._actions:
        types = get_args(getattr(action, "_typehint", None))
        both = {int, float} <= set(types) and all(isinstance(kind, type) for kind in types)
        if both and types.index(float) < types.index(int):
            others = [kind for kind in types if kind not in (int, float)]
            action._typehint = reduce(or_, [int, float, *others])  # `|` of classes is not cached
        for inner in (getattr(action, "_name_parser_map", None) or {}).values():
            _whole_numbers_first(inner)


def _texts(parse: Callable[[], Namespace]) -> set[str]:
    """Every text and path that a parser returns; those on the command line if a file that it reads is gone by now."""
    with redirect_stderr(io.StringIO()):
        try:
            parsed = parse()
        except (SystemExit, InputError):
            return {word.rpartition("=")[2] for word in OneLineParser.words}
    return {os.fspath(leaf) for leaf in _leaves(parsed) if isinstance(leaf, str | os.PathLike)}


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, Namespace):
        return _leaves(vars(value))
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]
