"""`load_study`: read a study from a YAML file, or a built-in one."""

from collections.abc import Sequence
from dataclasses import MISSING, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from lightning_clip._checks import did_you_mean
from lightning_clip._errors import InputError
from lightning_clip.studies.check import check_study
from lightning_clip.studies.study import Study
from lightning_clip.studies.yaml_text import read_yaml_text

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
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{source}: not a YAML file: {' '.join(str(error).split())}") from error
    required = [f.name for f in fields(Study) if f.default is MISSING and f.default_factory is MISSING]
    optional = [f.name for f in fields(Study) if f.name not in required]
    if not isinstance(content, dict) or not set(required) <= content.keys() <= {*required, *optional}:
        raise InputError(f"{source}: expected {_expected(content, required, optional)}")
    study = Study(**content)
    try:
        check_study(study)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    return study


def _expected(content: Any, required: Sequence[str], optional: Sequence[str]) -> str:
    keys = f"the keys {', '.join(required)} and, optionally, {', '.join(optional)}"
    if not isinstance(content, dict):
        return f"{keys}; found {content!r:.60}"
    unknown = [key for key in content if key not in (*required, *optional)]
    if unknown:
        return f"{keys}; found {unknown[0]!r}{did_you_mean(unknown[0], [*required, *optional])}"
    return f"{keys}; there is no {next(name for name in required if name not in content)}"


def built_in_studies() -> list[str]:
    """Return the names of the studies that come with the package."""
    folder = files("lightning_clip.configs") / "studies"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _text_of(source: str | Path) -> str:
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        known = built_in_studies()
        if str(source) not in known:
            shown = source if str(source) else "''"
            similar = did_you_mean(source, known)
            raise InputError(
                f"{shown}: there is no such study; name a .yaml file or one of {', '.join(known)}{similar}"
            )
        return (files("lightning_clip.configs") / "studies" / f"{source}.yaml").read_text(encoding="utf-8")
    return read_yaml_text(path)
