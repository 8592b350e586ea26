"""`load_study`: read a study from a YAML file, or a built-in one."""

from dataclasses import MISSING, fields
from importlib.resources import files
from pathlib import Path

import yaml

from lightning_clip._errors import InputError
from lightning_clip.studies.check import check_study
from lightning_clip.studies.study import Study

__all__ = ["built_in_studies", "load_study"]


def load_study(source: str | Path) -> Study:
    """Read and check a study.

    Args:
        source: The path of a YAML file, or the name of a built-in study, for instance `"mlp-regression"`.

    Returns:
        The study.

    Raises:
        InputError: The file cannot be read, or does not describe a study. The message says where and why in one line.
    """
    text = _text_of(source)
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{source}: not a YAML file: {' '.join(str(error).split())}") from error
    required = [f.name for f in fields(Study) if f.default is MISSING and f.default_factory is MISSING]
    optional = [f.name for f in fields(Study) if f.name not in required]
    if not isinstance(content, dict) or not set(required) <= content.keys() <= {*required, *optional}:
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise InputError(
            f"{source}: expected the keys {', '.join(required)} and, optionally, {', '.join(optional)}; found {found}"
        )
    study = Study(**content)
    try:
        check_study(study)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    return study


def built_in_studies() -> list[str]:
    """Return the names of the studies that come with the package."""
    folder = files("lightning_clip.configs") / "studies"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _text_of(source: str | Path) -> str:
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        if str(source) not in built_in_studies():
            raise InputError(
                f"{source}: there is no such study; name a .yaml file or one of {', '.join(built_in_studies())}"
            )
        return (files("lightning_clip.configs") / "studies" / f"{source}.yaml").read_text(encoding="utf-8")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise InputError(f"{source}: cannot be read: {reason}") from error
