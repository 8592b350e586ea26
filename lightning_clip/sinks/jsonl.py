"""`JsonlSink`: the whole record of a run, one JSON object a line."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from lightning_clip.core.record.measurements import Measurement
from lightning_clip.core.record.parameter_totals import ParameterTotals
from lightning_clip.core.record.run_info import Event, RunInfo
from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.sinks.appending import open_to_append
from lightning_clip.sinks.jsonl_reader import read_jsonl as read_jsonl


class JsonlSink:
    """Append everything that is recorded to a file, so that `read_jsonl` gives the same report again.

    Each line is standard JSON; a number that is not finite is the string `"nan"`, `"inf"` or `"-inf"`.

    - `{"run": {…}}`: what is being run; the first line, and again whenever the run is resumed.
    - `{"step": 0, "optimizer": 0, "strategy": …, "norm_before": …, …}`: one optimizer step, the fields of `StepRecord`.
      `watched` is there where strategies were only asked, `bad_params` (the parameters whose gradients were not
      finite) at the first step that was not finite.
    - `{"event": {…}}`: something that happened once.
    - `{"measurement": {…}}`: what a monitor measured now and then, the fields of `Measurement`.
    - `{"totals": {"seconds": …, "layers": {…}}}`: the norms of each parameter, written at the end; the last one counts.

    Each batch of lines is on disk before training goes on. A line torn by a crash is cut off on resuming; a step that
    is recorded again after resuming from an earlier checkpoint replaces the first record of it when the file is read.

    Args:
        path: The file; its folder is made when it is missing.

    Example:
        >>> import tempfile
        >>> from lightning_clip.core import RunInfo, StepRecord
        >>> from lightning_clip.core.record.parameter_totals import ParameterTotals
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sink = JsonlSink(f"{folder}/run.jsonl")
        ...     sink.open(RunInfo(model="MLPRegressor"))
        ...     sink.write([StepRecord(0, 0, "NormClip(1.0)", 4.0, 1.0, 1.0, 0.25, True, True, False)])
        ...     sink.close(RunInfo(seconds=1.5), ParameterTotals())
        ...     run, history = read_jsonl(sink.path)
        >>> run.model, run.seconds, history.aggregates[0].max
        ('MLPRegressor', 1.5, 4.0)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._file: TextIO | None = None
        self._named_bad: set[int] = set()

    def open(self, run: RunInfo) -> None:
        """Begin, or go on after a resume: a line with what is being run.

        Args:
            run: What is being run.
        """
        self._file = open_to_append(Path(self.path))
        self._named_bad.clear()
        self._write({"run": asdict(run)})

    def write(self, records: Sequence[StepRecord]) -> None:
        """A line for each step.

        Args:
            records: In order.
        """
        self._write(*(self._step(record) for record in records))

    def event(self, event: Event) -> None:
        """A line for the event.

        Args:
            event: What happened.
        """
        self._write({"event": asdict(event)})

    def measurement(self, measurement: Measurement) -> None:
        """A line for the measurement.

        Args:
            measurement: What was measured.
        """
        self._write({"measurement": asdict(measurement)})

    def close(self, run: RunInfo, parameters: ParameterTotals) -> None:
        """A last line with the duration and the totals of each parameter; then the file is closed.

        Args:
            run: What was run, with its duration.
            parameters: The norms of each parameter over the run.
        """
        self._write({"totals": {"seconds": run.seconds, "layers": _lists(parameters.state_dict())}})
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, *lines: dict[str, Any]) -> None:
        if self._file is None:
            raise ValueError(f"JsonlSink({str(self.path)!r}) is not open: call open(run) first.")
        self._file.write("".join(_encoded(line) + "\n" for line in lines))
        self._file.flush()

    def _step(self, record: StepRecord) -> dict[str, Any]:
        line: dict[str, Any] = {
            "step": record.step,
            "optimizer": record.optimizer,
            "strategy": record.strategy,
            "norm_before": record.norm_before,
            "norm_after": record.norm_after,
            "threshold": record.threshold,
            "clip_coef": record.clip_coef,
            "clipped": record.clipped,
            "finite": record.finite,
            "skipped": record.skipped,
            "loss": record.loss,
        }
        if record.watched:
            line["watched"] = record.watched
        if not record.finite and record.optimizer not in self._named_bad:
            self._named_bad.add(record.optimizer)
            line["bad_params"] = _bad_names(record)
        return line


def _bad_names(record: StepRecord) -> list[str]:
    if record.params is None:
        return []
    bad = ~np.isfinite(record.params.before)
    return [name for name, is_bad in zip(record.params.names, bad, strict=True) if is_bad]


_encode = json.JSONEncoder(allow_nan=False).encode


def _encoded(line: dict[str, Any]) -> str:
    try:
        return _encode(line)
    except ValueError:  # it holds a number that is not finite
        return _encode(_strict(line))


def _strict(value: Any) -> Any:
    """The same value with the numbers that JSON has no word for as strings."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return value


def _lists(state: dict[str, Any]) -> dict[str, Any]:
    """A state with every tensor as a list."""
    nested = {key: _lists(value) if isinstance(value, dict) else value for key, value in state.items()}
    return {key: value.tolist() if hasattr(value, "tolist") else value for key, value in nested.items()}
