"""`read_yaml_text` and `check_yaml`: find what parsers accept silently, such as a key that is given twice."""

import os
from collections.abc import Hashable
from pathlib import Path

import yaml

from lightning_clip._errors import InputError

__all__ = ["check_yaml", "read_yaml_text"]


def read_yaml_text(path: str | os.PathLike[str]) -> str:
    """Read and check a file.

    Args:
        path: The path of a YAML file.

    Returns:
        Its text.

    Raises:
        InputError: The file cannot be read, is not text, or `check_yaml` refuses it.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file in UTF-8"
        raise InputError(f"{os.fspath(path)}: cannot be read: {reason}") from error
    check_yaml(os.fspath(path), text)
    return text


def check_yaml(where: str, text: str) -> None:
    """Raise if a text is not YAML, gives a key twice, or contains itself through an alias.

    Args:
        where: The name of the file, for the message.
        text: Its content.

    Raises:
        InputError: Says the line and what is wrong there.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        found = ascii(chr(error.character) if isinstance(error.character, int) else error.character)
        raise InputError(f"{where}: line {line}: not a YAML file: it contains the character {found}") from error
    except yaml.MarkedYAMLError as error:
        place = f"line {error.problem_mark.line + 1}: " if error.problem_mark is not None else ""
        reason = " ".join(part for part in (error.context, error.problem) if part)
        raise InputError(f"{where}: not a YAML file: {place}{reason}") from error
    _check_node(where, node, set(), set())


def _check_node(where: str, node: yaml.Node | None, above: set[int], done: set[int]) -> None:
    if node is None or id(node) in done:
        return
    if id(node) in above:
        raise InputError(f"{where}: line {_line(node)}: the alias of this value is inside the value itself")
    above.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in seen:
                    raise InputError(f"{where}: line {_line(key)}: the key {key.value!r} is given twice")
                seen.add((key.tag, key.value))
            elif not isinstance(key, yaml.ScalarNode):
                raise InputError(f"{where}: line {_line(key)}: a key must be a word or a number, not a list or mapping")
            _check_node(where, value, above, done)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_node(where, item, above, done)
    above.discard(id(node))
    done.add(id(node))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
