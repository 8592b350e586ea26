"""`JsonlSink`: writes the complete record of a run, one JSON object per line."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from lightning_clip._checks import check_path
from lightning_clip._errors import InputError
from lightning_clip.core.record.measurements import Measurement
from lightning_clip.core.record.parameter_totals import ParameterTotals
from lightning_clip.core.record.run_info import Event, RunInfo
from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.sinks.appending import open_to_append, write_now
from lightning_clip.sinks.jsonl_reader import read_jsonl as read_jsonl
from lightning_clip.sinks.strict_json import encoded


class JsonlSink:
    """Append the complete record of a run to a JSON Lines file, from which `read_jsonl` reproduces the report.

    Each line is standard JSON. NaN and infinity are written as the strings `"nan"`, `"inf"` and `"-inf"`.

    - `{"run": {…}}`: the fields of `RunInfo`; the first line, and again whenever the run is resumed.
    - `{"step": 0, "optimizer": 0, "strategy": …, "norm_before": …, …}`: one optimizer step, the fields of `StepRecord`.
      Fields that are unknown are left out, and `first_batch` if it is `batch`. `watched` is present if strategies were
      shadowed. `bad_params`, the parameters with a NaN or infinite gradient, is
      present at the first step that has one.
    - `{"event": {…}}`: the fields of `Event`.
    - `{"measurement": {…}}`: the fields of `Measurement`.
    - `{"totals": {"seconds": …, "layers": {…}}}`: the totals of each parameter, written at the end; the last line of
      this kind is the valid one.

    Each batch of lines is flushed before training continues. On resuming, an incomplete last line is removed. If the
    run resumes from an earlier checkpoint, reading the file replaces the first records of the repeated steps by the
    later ones.

    Args:
        path: The path of the file; a missing folder is created.

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
        check_path("JsonlSink", path=path)
        self.path = path
        self._file: TextIO | None = None
        self._named_bad: set[int] = set()

    def open(self, run: RunInfo) -> None:
        """Open the file and write the `run` line.

        Args:
            run: The description of the run.

        Raises:
            InputError: The file holds something else than a record, or the record of another run, or another process
                is writing it. The file is left as it was.
            OSError: The file cannot be opened.
        """
        self._file = open_to_append(Path(self.path), partial(_check_run, self.path, run))
        self._named_bad.clear()
        self._write({"run": asdict(run)})

    def write(self, records: Sequence[StepRecord]) -> None:
        """Write one line per step.

        Args:
            records: The records, in order.
        """
        self._write(*(self._step(record) for record in records))

    def event(self, event: Event) -> None:
        """Write one line for an event.

        Args:
            event: The event.
        """
        self._write({"event": asdict(event)})

    def measurement(self, measurement: Measurement) -> None:
        """Write one line for a measurement.

        Args:
            measurement: The measurement.
        """
        self._write({"measurement": asdict(measurement)})

    def close(self, run: RunInfo, parameters: ParameterTotals) -> None:
        """Write the `totals` line and close the file.

        Args:
            run: The description of the run, with its duration.
            parameters: The totals of each parameter over the run.
        """
        self._write({"totals": {"seconds": run.seconds, "layers": _lists(parameters.state_dict())}})
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, *lines: dict[str, Any]) -> None:
        if self._file is None:
            raise ValueError(f"JsonlSink({str(self.path)!r}) is not open: call open(run) first.")
        text = "".join(encoded(line) + "\n" for line in lines)
        try:
            write_now(self._file, text)
        except OSError:
            self._file = None  # closed: what is missing now must not be followed by later steps
            raise

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
        line |= {name: value for name in _OPTIONAL if (value := getattr(record, name)) is not None}
        if record.first_batch == record.batch:
            line.pop("first_batch", None)
        if record.watched:
            line["watched"] = record.watched
        if not record.finite and record.optimizer not in self._named_bad:
            self._named_bad.add(record.optimizer)
            line["bad_params"] = _bad_names(record)
        return line


def _check_run(path: str | os.PathLike[str], run: RunInfo, first_line: bytes) -> None:
    """Raise unless a file begins with the `run` line of this run, or was torn while that line was written."""
    if first_line.startswith(b'{"run"') and not first_line.endswith(b"\n"):
        return
    where = os.fspath(path)
    try:
        found = json.loads(first_line)["run"]
        _, known = found["model"], found.get("id", "")
    except (ValueError, LookupError, TypeError, AttributeError):
        raise InputError(f"{where}: not a record of JsonlSink; give the sink a path of its own.") from None
    if known != run.id or (not known and run.start_step == 0):
        remedy = "give JsonlSink a new path for each run, or remove the file"
        raise InputError(f"{where}: the record of another run; {remedy}.")


def _bad_names(record: StepRecord) -> list[str]:
    if record.params is None:
        return []
    bad = ~np.isfinite(record.params.before)
    return [name for name, is_bad in zip(record.params.names, bad, strict=True) if is_bad]


_OPTIONAL = ("epoch", "first_batch", "batch", "learning_rate", "top_param", "top_share")


def _lists(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state with every tensor as a list."""
    nested = {key: _lists(value) if isinstance(value, dict) else value for key, value in state.items()}
    return {key: value.tolist() if hasattr(value, "tolist") else value for key, value in nested.items()}
