"""Parses and checks the lines of a JSONL record: one function per kind of line; `jsonl_reader` uses them."""

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from lightning_clip.core.record.measurements import Measurement
from lightning_clip.core.record.parameter_totals import ParameterTotals
from lightning_clip.core.record.run_info import Event, RunInfo
from lightning_clip.core.record.step_record import StepRecord

Columns = Mapping[str, list[Any]]
Row = dict[str, Any]

_NON_FINITE = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}
_NUMBERS = {"norm_before": False, "norm_after": False, "threshold": True, "clip_coef": False, "loss": True}
_OTHERS: Mapping[str, type] = {
    "step": int,
    "optimizer": int,
    "strategy": str,
    "clipped": bool,
    "finite": bool,
    "skipped": bool,
}
_SINCE_SECOND: Mapping[str, type] = {
    "epoch": int,
    "batch": int,
    "learning_rate": float,
    "top_param": str,
    "top_share": float,
}
_NOT_NEGATIVE = {"norm_before", "norm_after", "threshold", "clip_coef", "seconds", "top_share"}
_WORDS = {int: "a whole number", str: "a string", bool: "true or false", dict: "an object", list: "a list"}


_REQUIRED = {*_NUMBERS, *_OTHERS}
_STEP_NAMES = {*StepRecord.__dataclass_fields__, "bad_params"} - {"params"}


def step_columns(rows: Sequence[Row]) -> Columns:
    """Parse step lines into columns.

    Args:
        rows: The `n` lines.

    Returns:
        The fields of `StepRecord` and `bad_params`, each `(n,)`.

    Raises:
        ValueError: A value has the wrong type.
        KeyError: A field is missing.
    """
    for row in {len(row): row for row in rows}.values():  # lines with other fields have another number of them
        _check_names(row, _STEP_NAMES)
    return _columns(rows, _shared_fields(rows))


def _shared_fields(rows: Sequence[Row]) -> Collection[str] | None:
    """The fields that every line has, if no line has others; `None` if the lines differ."""
    if len(set(map(len, rows))) > 1:
        return None
    optional = [name for name in rows[0] if name not in _REQUIRED]
    try:
        for name in optional:
            deque(map(itemgetter(name), rows), maxlen=0)  # at the speed of C
    except KeyError:  # as many fields, but not the same ones
        return None
    return rows[0].keys()


def _columns(rows: Sequence[Row], shared: Collection[str] | None) -> Columns:
    """Parse step lines, of which no field has to be looked for that is not in `shared`; `None` to look for all."""
    nothing = [None] * len(rows)

    columns = {name: _typed(name, list(map(itemgetter(name), rows)), kind) for name, kind in _OTHERS.items()}
    for name, optional in _NUMBERS.items():
        columns[name] = _numbers(name, list(map(itemgetter(name), rows)), optional)
    for name, kind in _SINCE_SECOND.items():
        is_there = shared is None or name in shared
        columns[name] = _optional(name, [row.get(name) for row in rows], kind) if is_there else nothing
    firsts = columns["batch"]
    if shared is None or "first_batch" in shared:
        firsts = _optional("first_batch", [row.get("first_batch", row.get("batch")) for row in rows], int)
    columns["first_batch"] = firsts
    is_watched = shared is None or "watched" in shared
    columns["watched"] = [_watched(row["watched"]) if is_watched and "watched" in row else {} for row in rows]
    columns["bad_params"] = [()] * len(rows)
    if shared is None or "bad_params" in shared:
        columns["bad_params"] = [_bad_params(row["bad_params"]) if "bad_params" in row else () for row in rows]
    return columns


def step_records(columns: Columns) -> list[StepRecord]:
    """Convert columns to step records.

    Args:
        columns: The result of `step_columns`.

    Returns:
        The `n` records.
    """
    names = [name for name in columns if name != "bad_params"]
    rows = zip(*(columns[name] for name in names), strict=True)
    return [StepRecord(**dict(zip(names, row, strict=True))) for row in rows]


def run_info(row: Row) -> RunInfo:
    """Parse the line that starts or resumes a run."""
    fields = _fields_of("run", row, RunInfo)
    _typed("numels", list(_typed("numels", [fields["numels"]], dict)[0].values()), int)
    _typed("model, strategy or optimizer", [fields[name] for name in ("model", "strategy", "optimizer")], str)
    _typed("id or brief_strategy", [fields.get("id", ""), fields.get("brief_strategy", "")], str)
    _typed("trains", _typed("trains", [fields.get("trains", [])], list)[0], str)
    _typed("frozen", _typed("frozen", [fields.get("frozen") or []], list)[0], str)
    _typed("start_step", [fields.get("start_step", 0)], int)
    return RunInfo(**{**fields, "seconds": _numbers("seconds", [fields["seconds"]], True)[0]})


def run_event(row: Row) -> Event:
    """Parse the line of an event."""
    fields = _fields_of("event", row, Event)
    _typed("step", [fields["step"]], int)
    _typed("kind or message", [fields["kind"], fields["message"]], str)
    return Event(**{**fields, "data": _floats(_typed("data", [fields["data"]], dict)[0])})


def measurement(row: Row) -> Measurement:
    """Parse the line of a measurement."""
    fields = _fields_of("measurement", row, Measurement)
    _typed("step", [fields["step"]], int)
    _typed("kind", [fields["kind"]], str)
    data = _typed("data", [fields["data"]], dict)[0]
    return Measurement(**{**fields, "data": {name: _measured(name, value) for name, value in data.items()}})


def totals(row: Row) -> tuple[float | None, ParameterTotals]:
    """Parse the line with the duration in seconds and the totals of each parameter."""
    fields = _typed("totals", [row["totals"]], dict)[0]
    _check_names(fields, ("seconds", "layers"))
    seconds = _numbers("seconds", [fields["seconds"]], True)[0]
    parameters = ParameterTotals()
    parameters.load_state_dict(_typed("layers", [fields["layers"]], dict)[0])
    return seconds, parameters


READERS: Mapping[str, Callable[[Row], Any]] = {
    "step": lambda row: step_columns([row]),
    "run": run_info,
    "event": run_event,
    "measurement": measurement,
    "totals": totals,
}


def _check_names(found: Iterable[str], known: Collection[str]) -> None:
    """Raise for a field that only a later version may have written; fields that are missing are no concern here."""
    if unknown := [name for name in found if name not in known]:
        raise ValueError(f"no field {unknown[0]!r}, which only a later version of lightning-clip may know")


def _fields_of(name: str, row: Row, kind: type) -> dict[str, Any]:
    """Return the fields of a line other than a step."""
    fields: dict[str, Any] = _typed(name, [row[name]], dict)[0]
    _check_names(fields, kind.__dataclass_fields__)  # type: ignore[attr-defined]  # every kind is a dataclass
    return fields


def _watched(value: Any) -> dict[str, Any]:
    factors: dict[str, Any] = _typed("watched", [value], dict)[0]
    return dict(zip(factors, _numbers("watched", list(factors.values()), False), strict=True))


def _bad_params(value: Any) -> list[str]:
    if type(value) is not list or not all(type(name) is str for name in value):
        raise ValueError(f"bad_params to be a list of strings, found {value!r}")
    return value


def _typed(name: str, values: list[Any], kind: type) -> list[Any]:
    if set(map(type, values)) - {kind}:
        found = next(value for value in values if type(value) is not kind)
        raise ValueError(f"{name} to be {_WORDS[kind]}, found {found!r}")
    if kind is int and min(values, default=0) < 0:
        raise ValueError(f"{name} to be at least 0, found {min(values)!r}")
    return values


def _optional(name: str, values: list[Any], kind: type) -> list[Any]:
    if kind is float:
        return _numbers(name, values, True)
    _typed(name, [value for value in values if value is not None], kind)
    return values


def _numbers(name: str, values: list[Any], optional: bool) -> list[Any]:
    kinds = set(map(type, values)) - {float, int}
    if optional:
        kinds.discard(type(None))
    if not kinds:
        return _checked_sign(name, values)
    found = next((v for v in values if type(v) in kinds and not (type(v) is str and v in _NON_FINITE)), None)
    if kinds - {str} or found is not None:
        raise ValueError(f"{name} to be a number{' or null' * optional}, found {found!r}")
    return _checked_sign(name, [_NON_FINITE[value] if type(value) is str else value for value in values])


def _checked_sign(name: str, values: list[Any]) -> list[Any]:
    if name in _NOT_NEGATIVE and -math.inf < (low := min(filter(None, values), default=0)) < 0:
        raise ValueError(f"{name} to be at least 0, found {low!r}")
    return values


def _floats(mapping: dict[str, Any]) -> dict[str, Any]:
    """Convert the strings that stand for NaN and infinity to numbers."""
    return {key: _NON_FINITE.get(value, value) if type(value) is str else value for key, value in mapping.items()}


def _measured(name: str, value: Any) -> Any:
    values = value if type(value) is list else [value]
    found = [one for one in values if type(one) not in (float, int, str)]
    if found:
        raise ValueError(f"{name} to be numbers or strings, found {found[0]!r}")
    read = [_NON_FINITE.get(one, one) if type(one) is str else one for one in values]
    return read if type(value) is list else read[0]
