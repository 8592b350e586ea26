"""From a written `class_path` and `init_args` to an object."""

from typing import Any, TypeVar

from jsonargparse import ArgumentError, ArgumentParser

T = TypeVar("T")

Config = dict[str, Any]


def build(base: type[T], config: Config) -> T:
    """Make the object that a configuration describes.

    Args:
        base: The class it must be of.
        config: `{"class_path": …, "init_args": {…}}`; a class of this package may be named without its path.

    Returns:
        A new object.

    Raises:
        ValueError: The configuration does not describe one, in one line that says why.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--object", type=base)
    try:
        parsed = parser.parse_object({"object": config})
        made: T = parser.instantiate_classes(parsed).object
    except (ArgumentError, TypeError, ValueError) as error:
        raise ValueError(one_line(str(error), config)) from error
    return made


def one_line(message: str, config: Config) -> str:
    """The last and most precise line of a message of jsonargparse, with the class that it is about.

    Args:
        message: Several lines, from the general to the precise.
        config: The configuration that was refused.

    Returns:
        One line.
    """
    reason = message.strip().splitlines()[-1].strip().removesuffix(".")
    name = config.get("class_path", config) if isinstance(config, dict) else config
    if "dot import path" in reason:
        return f"there is no class {name!r}"
    return reason if str(name).rpartition(".")[2] in reason else f"{name}: {reason}"
