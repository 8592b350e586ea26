"""`CsvSink`: one row a step, for spreadsheets and data frames."""

import csv
import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TextIO

from lightning_clip._errors import InputError
from lightning_clip.core.record.measurements import Measurement
from lightning_clip.core.record.parameter_totals import ParameterTotals
from lightning_clip.core.record.run_info import Event, RunInfo
from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.sinks.appending import open_to_append

_COLUMNS = [field.name for field in fields(StepRecord) if field.name not in ("watched", "params")]


class CsvSink:
    """Append a row for each optimizer step to a CSV file; the first row names the columns.

    The columns are the fields of `StepRecord` without `watched` and `params`; events, measurements and totals of
    parameters are not written. An empty cell is a number that is not there, `nan` and `inf` are numbers. After a
    resume from an earlier checkpoint the steps that are made again appear again: the last row of a step is the valid
    one (`frame.drop_duplicates(["optimizer", "step"], keep="last")`).

    Args:
        path: The file; its folder is made when it is missing.

    Raises:
        InputError: When opened: the file holds something else.

    Example:
        >>> import tempfile
        >>> from lightning_clip.core import RunInfo, StepRecord
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sink = CsvSink(f"{folder}/run.csv")
        ...     sink.open(RunInfo())
        ...     sink.write([StepRecord(0, 0, "NoClip()", 4.0, 4.0, None, 1.0, False, True, False)])
        ...     sink.close(RunInfo(), ParameterTotals())
        ...     Path(sink.path).read_text().splitlines()[1]
        '0,0,NoClip(),4.0,4.0,,1.0,False,True,False,'
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._file: TextIO | None = None

    def open(self, run: RunInfo) -> None:
        """Begin with the header, or go on where the file ends.

        Args:
            run: Not written.
        """
        path = Path(self.path)
        _check_header(path)
        self._file = open_to_append(path)
        if self._file.tell() == 0:
            self._write([_COLUMNS])

    def write(self, records: Sequence[StepRecord]) -> None:
        """A row for each step.

        Args:
            records: In order.
        """
        self._write([[getattr(record, name) for name in _COLUMNS] for record in records])

    def event(self, event: Event) -> None:
        """Nothing: a table of steps has no place for it.

        Args:
            event: Not written.
        """

    def measurement(self, measurement: Measurement) -> None:
        """Nothing: a table of steps has no place for it.

        Args:
            measurement: Not written.
        """

    def close(self, run: RunInfo, parameters: ParameterTotals) -> None:
        """Close the file.

        Args:
            run: Not written.
            parameters: Not written.
        """
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, rows: Sequence[Sequence[Any]]) -> None:
        if self._file is None:
            raise ValueError(f"CsvSink({str(self.path)!r}) is not open: call open(run) first.")
        csv.writer(self._file, lineterminator="\n").writerows(rows)
        self._file.flush()


def _check_header(path: Path) -> None:
    """Raise rather than mix rows of ours into a file of someone else."""
    if not path.exists():
        return
    header = ",".join(_COLUMNS) + "\n"
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        first = file.readline(len(header))
    if not header.startswith(first):
        raise InputError(f"{path}: line 1: expected the header {header.strip()}; give CsvSink a new file.")
