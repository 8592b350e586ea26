"""`build`: from a `class_path` and `init_args` to an object."""

from typing import Any, TypeVar

from jsonargparse import ArgumentError as ParserError
from jsonargparse import ArgumentParser

import lightning_clip.datamodules
import lightning_clip.modules  # noqa: F401  (jsonargparse finds a class by its bare name once it is imported)
from lightning_clip._checks import did_you_mean
from lightning_clip._errors import InputError, constructor_error, in_one_line, is_known, recording
from lightning_clip.studies.similar import with_suggestion

T = TypeVar("T")

Config = dict[str, Any]


def build(base: type[T], config: Config) -> T:
    """Build the object that a configuration describes.

    Args:
        base: The class that the object must be an instance of.
        config: `{"class_path": …, "init_args": {…}}`. Classes of this package need no import path.

    Returns:
        A new object.

    Raises:
        InputError: The configuration cannot be used. The message says why in one line.
        Exception: Any other exception that the constructor raises.
    """
    _check(config)
    parser = _parser(base)
    raised: list[Exception] = []
    try:
        parsed = parser.parse_object({"object": config})
        made: T = parser.instantiate(parsed, instantiators=[(recording(raised), object, True)]).object
        return made
    except (ParserError, TypeError, ValueError) as error:
        problem = constructor_error(error, raised)
        if problem is None or is_known(problem):
            raise InputError(_line(base, config, problem or error)) from error
    raise problem


def with_defaults(base: type, config: Config) -> str:
    """Write a configuration with the defaults of its class filled in; equal texts build equal objects.

    Args:
        base: The class that the object must be an instance of.
        config: A configuration that `build` accepts.

    Returns:
        The configuration as text.
    """
    if not config:
        return ""
    return repr(_parser(base).parse_object({"object": config}).object)


def _parser(base: type) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--object", type=base)
    return parser


def _line(base: type, config: Any, error: Exception) -> str:
    reason = in_one_line(str(error)).removeprefix("object: ")
    name = config.get("class_path", "")
    return with_suggestion(reason if name.rpartition(".")[2] in reason else f"{name}: {reason}", config, base)


def _check(config: Any) -> None:
    """Raise unless a configuration names a class and its arguments."""
    if not isinstance(config, dict):
        raise InputError(f"expected class_path and init_args, found {config!r}")
    if unknown := [key for key in config if key not in _KEYS]:
        raise InputError(f"expected class_path and init_args, found {unknown[0]!r}{did_you_mean(unknown[0], _KEYS)}")
    if not isinstance(config.get("class_path"), str):
        raise InputError(f"class_path: expected the name of a class, found {config.get('class_path')!r}")
    if not isinstance(config.get("init_args", {}) or {}, dict):
        raise InputError(f"init_args: expected arguments by name, found {config['init_args']!r}")


_KEYS = ("class_path", "init_args", "dict_kwargs")
