"""`first_different_step`: where two records of `JsonlSink` part, from their files, which hold every step."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.sinks.jsonl_lines import step_columns, step_records
from lightning_clip.sinks.jsonl_reader import replaced_from, step_of

_STEP = b'{"step"'
_COMPARED = ("loss", "norm_before", "norm_after")


def first_different_step(
    path: str | os.PathLike[str], other: str | os.PathLike[str]
) -> tuple[StepRecord, StepRecord] | None:
    """Find the first step at which norms or losses of two records differ, in memory that does not grow with them.

    Lines that are the same, byte for byte, are not parsed.

    Args:
        path: The path of a file that a `JsonlSink` wrote, and that `read_jsonl` can read.
        other: The path of another one.

    Returns:
        What each of them has there; `None` if there is no such step before the runs make steps of different optimizers,
        or one of them ends.
    """
    for line, theirs in zip(_step_lines(Path(path)), _step_lines(Path(other)), strict=False):
        if line == theirs:
            continue
        own, found = _record(line), _record(theirs)
        if (own.step, own.optimizer) != (found.step, found.optimizer):
            return None
        if any(_differ(getattr(own, name), getattr(found, name)) for name in _COMPARED):
            return own, found
    return None


def _step_lines(path: Path) -> Iterator[bytes]:
    """The lines of steps that no later session replaces."""
    limits = iter(replaced_from(path))
    limit: dict[int, int] = {}
    with path.open("rb") as file:
        for line in file:
            if line.startswith(_STEP):
                place = step_of(line) if limit else None
                if line.endswith(b"\n") and (place is None or place[1] < limit.get(place[0], place[1] + 1)):
                    yield line
            elif line.startswith(b'{"run"'):
                limit = next(limits)


def _record(line: bytes) -> StepRecord:
    return step_records(step_columns([json.loads(line)]))[0]


def _differ(one: float | None, other: float | None) -> bool:
    """Whether both have a value, and not the same one."""
    return one is not None and other is not None and one != other and not (one != one and other != other)
