"""Objects built from `class_path` and `init_args`, as the command line builds them."""

import warnings
from typing import Any

from jsonargparse import ArgumentParser


def built(base: type, name: str, **init_args: Any) -> Any:
    """Build an object of a class of the package from plain values."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--object", type=base)
    parsed = parser.parse_object({"object": {"class_path": f"lightning_clip.{name}", "init_args": init_args}})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer versions prefer another name
        return parser.instantiate_classes(parsed).object
