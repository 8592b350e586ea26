"""A run as a row of `results.json`: `to_row` and `from_row`, which checks what it reads."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lightning_clip.studies.comparison.result import RunResult

_KINDS: Mapping[str, tuple[type, ...]] = {
    "model": (str,),
    "strategy": (str,),
    "seed": (int,),
    "diverged": (bool,),
    "diverged_at_step": (int, type(None)),
    "steps": (int,),
    "seconds": (float, int),
    "clipped_fraction": (float, int),
    "metrics": (dict,),
}
_MOST = {"clipped_fraction": 1}
_WORDS = {str: "a string", int: "a whole number", bool: "true or false", float: "a number", dict: "an object"}


def to_row(run: RunResult) -> dict[str, Any]:
    """Return a run as plain values; its axes have a key of their own, so that their names cannot be those of fields.

    Args:
        run: The result of the run.

    Returns:
        The row.
    """
    row: dict[str, Any] = asdict(run)
    axes, data = row.pop("axes"), row.pop("data")
    return {**row, "axes": axes, **({"data": data} if data else {})}


def from_row(row: Any) -> RunResult:
    """Read a row; in files of earlier versions, every key that is no field is an axis.

    Args:
        row: The row.

    Returns:
        The result of the run.

    Raises:
        ValueError: The row is not what `to_row` returns; says what was expected.
    """
    if not isinstance(row, dict):
        raise ValueError(f"an object, found {row!r}")
    for name, kinds in _KINDS.items():
        if name not in row:
            raise ValueError(f"the key {name!r}")
        _check(name, row[name], kinds)
    fields = {name: row[name] for name in _KINDS}
    others = {name: value for name, value in row.items() if name not in {*_KINDS, "data", "axes"}}
    if "axes" in row and others:
        raise ValueError(f"no key {next(iter(others))!r}, which only a later version of lightning-clip may know")
    axes = row.get("axes", others)
    _check("data", row.get("data", ""), (str,))
    _check("axes", axes, (dict,))
    for name, value in axes.items():
        _check(f"axes: {name}", value, (float, int, str))
    for name, value in row["metrics"].items():
        _check(f"metrics: {name}", value, (float, int, type(None)), signed=True)
    return RunResult(**fields, axes=axes, data=row.get("data", ""))


def _check(name: str, value: Any, kinds: tuple[type, ...], *, signed: bool = False) -> None:
    if type(value) not in kinds:
        words = " or null" if type(None) in kinds else " or a string" if str in kinds[1:] else ""
        raise ValueError(f"{name} to be {_WORDS[kinds[0]]}{words}, found {value!r}")
    is_number = type(value) in (int, float)
    if is_number and not signed and ":" not in name and not 0 <= value <= _MOST.get(name, float("inf")):
        raise ValueError(f"{name} to be at least 0{' and at most 1' * (name in _MOST)}, found {value!r}")
