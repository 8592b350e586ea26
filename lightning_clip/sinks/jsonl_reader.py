"""`read_jsonl`: reads the file that a `JsonlSink` wrote back into the history of the run."""

import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import compress, groupby
from pathlib import Path
from typing import BinaryIO

from lightning_clip._errors import InputError
from lightning_clip.core.record.history import History
from lightning_clip.core.record.run_info import RunInfo
from lightning_clip.sinks.jsonl_lines import (
    READERS,
    Columns,
    Row,
    measurement,
    run_event,
    run_info,
    step_columns,
    step_records,
    totals,
)

try:
    from orjson import loads
except ModuleNotFoundError:  # pip install "lightning-clip[fast]" reads a million steps two seconds faster
    from json import loads  # type: ignore[assignment]

_BLOCK_BYTES = 1 << 18
_RUN = b'{"run"'
_STEP = re.compile(rb'\{"step": ?(\d+), ?"optimizer": ?(\d+)')
_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, StopIteration)


def read_jsonl(path: str | os.PathLike[str]) -> tuple[RunInfo, History]:
    """Read the record of a run, in memory that does not grow with its length.

    If the run was resumed from an earlier checkpoint, the repeated steps replace everything recorded from there on,
    because the weights come from the later ones. An incomplete last line is ignored.

    Args:
        path: The path of a file that a `JsonlSink` wrote.

    Returns:
        The description of the run and its history.

    Raises:
        FileNotFoundError: The file does not exist.
        InputError: A line is malformed; the message names the file, the line and what was expected.
    """
    path = Path(path)
    reading = _Reading(replaced_from(path))
    line_number = 1
    with path.open("rb") as file:
        for lines in _blocks(file):
            try:
                reading.take(_parsed(lines))
            except _MALFORMED:
                raise _error(path, line_number, lines) from None
            line_number += len(lines)
    if reading.run is None:
        raise InputError(f"{path}: line 1: expected an object that begins with 'run', found the end of the file.")
    return reading.run, reading.finished_history()


class _Reading:
    """Builds run and history from the lines of a file, in order.

    Args:
        replaced_from: For each session, the step from which a later session replaces it, by optimizer.
    """

    def __init__(self, replaced_from: list[dict[int, int]]) -> None:
        self.run: RunInfo | None = None
        self._history = History()
        self._replaced_from = iter(replaced_from)
        self._limits: dict[int, int] = {}
        self._tail: deque[Columns] = deque()
        self._take = {
            "step": self._steps,
            "run": self._run,
            "event": self._events,
            "measurement": self._measurements,
            "totals": self._totals,
        }

    def take(self, rows: list[Row]) -> None:
        if self.run is not None and all("step" in row for row in rows):
            self._steps(rows)
            return
        for kind, group in groupby(rows, key=_kind):
            if self.run is None and kind != "run":
                raise ValueError
            self._take[kind](list(group))

    def finished_history(self) -> History:
        for columns in self._tail:
            self._history.records.extend(step_records(columns))
        return self._history

    def _steps(self, rows: list[Row]) -> None:
        columns = step_columns(rows)
        if self._limits:
            last = [self._limits.get(optimizer, step + 1) for optimizer, step in _steps_of(columns)]
            kept = [step < limit for (_, step), limit in zip(_steps_of(columns), last, strict=True)]
            columns = {name: list(compress(column, kept)) for name, column in columns.items()}
        self._history.count(columns)
        self._name_bad_params(columns)
        self._tail.append(columns)
        window = self._history.records.maxlen or 0
        while sum(len(held["step"]) for held in self._tail) - len(self._tail[0]["step"]) >= window:
            self._tail.popleft()

    def _name_bad_params(self, columns: Columns) -> None:
        if not any(columns["bad_params"]):
            return
        for (optimizer, step), names in zip(_steps_of(columns), columns["bad_params"], strict=True):
            if names and self._history.aggregates[optimizer].first_nonfinite == step:
                self._history.aggregates[optimizer].first_bad_names = list(names)

    def _run(self, rows: list[Row]) -> None:
        for row in rows:
            self.run = run_info(row)
            self._limits = next(self._replaced_from)

    def _events(self, rows: list[Row]) -> None:
        self._history.events.extend(event for event in map(run_event, rows) if self._happened(event.step))

    def _measurements(self, rows: list[Row]) -> None:
        for measured in map(measurement, rows):
            if self._happened(measured.step):
                self._history.measurements.add(measured)

    def _happened(self, step: int) -> bool:
        """Return whether a step is not replaced by a later session."""
        limit = max(self._limits.values(), default=None)
        return limit is None or step < limit

    def _totals(self, rows: list[Row]) -> None:
        seconds, self._history.parameters = totals(rows[-1])
        if self.run is not None:
            self.run = replace(self.run, seconds=seconds)


def _kind(row: Row) -> str:
    return next(iter(row), "")


def _steps_of(columns: Columns) -> Iterator[tuple[int, int]]:
    return zip(columns["optimizer"], columns["step"], strict=True)


def _blocks(file: BinaryIO) -> Iterator[list[bytes]]:
    """Yield the lines in blocks of bounded size, without an incomplete last line."""
    while lines := file.readlines(_BLOCK_BYTES):
        if not lines[-1].endswith(b"\n") and not _is_json(lines[-1]):
            lines.pop()
        yield lines


def _is_json(line: bytes) -> bool:
    try:
        loads(line)
    except ValueError:
        return False
    return True


def _parsed(lines: list[bytes]) -> list[Row]:
    rows: list[Row] = loads(b"[" + b",".join(lines) + b"]")  # twice as fast as one call per line
    if len(rows) != len(lines):
        raise ValueError
    return rows


def replaced_from(path: Path) -> list[dict[int, int]]:
    """Find, for each session in the file, the step from which later sessions replace it, by optimizer.

    Args:
        path: The path of the file.
    """
    starts: list[dict[int, int]] = []
    with path.open("rb") as file:
        if sum(block.count(_RUN) for block in iter(partial(file.read, _BLOCK_BYTES), b"")) < 2:
            return [{}]  # nothing is replaced; counting is ten times faster than parsing each line
        file.seek(0)
        for line in file:
            if line.startswith(_RUN):
                starts.append({})
            elif len(starts) > 1 and (place := step_of(line)):
                starts[-1].setdefault(*place)
    limits: list[dict[int, int]] = []
    later: dict[int, int] = {}
    for start in reversed(starts):
        limits.append(later)
        later = {k: min(later.get(k, start.get(k, 0)), start.get(k, later.get(k, 0))) for k in later | start}
    return limits[::-1]


def step_of(line: bytes) -> tuple[int, int] | None:
    """The optimizer and the step of a line; `None` if it is not that of a step."""
    step = _STEP.match(line)
    return (int(step[2]), int(step[1])) if step else None


def _error(path: Path, line_number: int, lines: list[bytes]) -> InputError:
    """Describe the first malformed line of a block."""
    for number, line in enumerate(lines, line_number):
        expected = _expected(line, is_first=number == 1)
        if expected:
            return InputError(f"{path}: line {number}: expected {expected}.")
    return InputError(f"{path}: line {line_number}: expected lines as JsonlSink writes them.")


def _expected(line: bytes, *, is_first: bool) -> str:
    """Say what a malformed line should be; empty for a valid line."""
    shown = line[:40].decode(errors="replace").strip()
    if not _is_json(line):
        return f"one JSON object, found {shown!r}"
    row = loads(line)
    kind = _kind(row) if isinstance(row, dict) and row else ""
    if kind not in READERS or (is_first and kind != "run"):
        allowed = ["run"] if is_first else list(READERS)
        return f"an object that begins with {' or '.join(repr(name) for name in allowed)}, found {shown!r}"
    try:
        READERS[kind](row)
    except KeyError as error:
        return f"the key {error} in {shown!r}"
    except (ValueError, TypeError) as error:
        return str(error)
    return ""
