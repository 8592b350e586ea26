"""From a written `class_path` and `init_args` to an object."""

from typing import Any, TypeVar

from jsonargparse import ArgumentError as ParserError
from jsonargparse import ArgumentParser

import lightning_clip.datamodules
import lightning_clip.modules  # noqa: F401  (class names without a path are found once the classes exist)
from lightning_clip._errors import InputError, in_one_line, is_known, record_constructor_errors

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
        InputError: The configuration does not describe one, in one line that says why.
        Exception: Whatever else the constructor raises.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--object", type=base)
    raised = record_constructor_errors(parser)
    try:
        parsed = parser.parse_object({"object": config})
        made: T = parser.instantiate(parsed).object
    except (ParserError, TypeError, ValueError) as error:
        if raised and not is_known(raised[0]):
            raise raised[0]  # noqa: B904 (a defect of the class, with its own traceback)
        reason = in_one_line(str(raised[0] if raised else error)).removeprefix("object: ")
        name = config.get("class_path", "") if isinstance(config, dict) else str(config)
        raise InputError(reason if name.rpartition(".")[2] in reason else f"{name}: {reason}") from error
    return made
