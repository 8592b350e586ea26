"""`CsvSink`: writes one CSV row per optimizer step, for spreadsheets and data frames."""

import csv
import os
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

from lightning_clip._checks import check_path
from lightning_clip._errors import InputError
from lightning_clip.core.record.measurements import Measurement
from lightning_clip.core.record.parameter_totals import ParameterTotals
from lightning_clip.core.record.run_info import Event, RunInfo
from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.sinks.appending import open_to_append, write_now

_COLUMNS = [field.name for field in fields(StepRecord) if field.name not in ("watched", "params")]
_FIRST_COLUMNS = _COLUMNS[
    : _COLUMNS.index("loss") + 1
]  # of files of the first version, which are continued as they are


class CsvSink:
    """Append one row per optimizer step to a CSV file with a header.

    The columns are the fields of `StepRecord` without `watched` and `params`. Events, measurements and parameter totals
    are not written. An empty cell is a missing value; `nan` and `inf` are numbers. After resuming from an earlier
    checkpoint, the repeated steps appear a second time, and the last row of a step is the valid one
    (`frame.drop_duplicates(["optimizer", "step"], keep="last")`).

    Args:
        path: The path of the file; a missing folder is created.

    Raises:
        InputError: At `open`: the file exists and is not a CSV file of this sink.

    Example:
        >>> import tempfile
        >>> from lightning_clip.core import RunInfo, StepRecord
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sink = CsvSink(f"{folder}/run.csv")
        ...     sink.open(RunInfo())
        ...     sink.write([StepRecord(0, 0, "NoClip()", 4.0, 4.0, None, 1.0, False, True, False)])
        ...     sink.close(RunInfo(), ParameterTotals())
        ...     Path(sink.path).read_text().splitlines()[1]
        '0,0,NoClip(),4.0,4.0,,1.0,False,True,False,,,,,,,'
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        check_path("CsvSink", path=path)
        self.path = path
        self._file: TextIO | None = None
        self._columns = _COLUMNS

    def open(self, run: RunInfo) -> None:
        """Open the file, and write the header if the file is new.

        Args:
            run: The description of the run: rows are added only to the file of a run that is resumed.

        Raises:
            InputError: The file holds something else, or another run, or another process is writing it. The file is
                left as it was.
            OSError: The file cannot be opened.
        """
        self._columns = _COLUMNS
        self._file = open_to_append(Path(self.path), partial(self._check_header, run))
        if self._file.tell() == 0:
            self._write([self._columns])

    def write(self, records: Sequence[StepRecord]) -> None:
        """Write one row per step.

        Args:
            records: The records, in order.
        """
        self._write([[getattr(record, name) for name in self._columns] for record in records])

    def event(self, event: Event) -> None:
        """Do nothing: a table of steps has no column for events.

        Args:
            event: Not written.
        """

    def measurement(self, measurement: Measurement) -> None:
        """Do nothing: a table of steps has no column for measurements.

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
        text = StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        try:
            write_now(self._file, text.getvalue())
        except OSError:
            self._file = None  # closed: what is missing now must not be followed by later steps
            raise

    def _check_header(self, run: RunInfo, first_line: bytes) -> None:
        """Raise if the file has another header or rows of another run: no row goes into a file that is not ours."""
        where = Path(self.path)
        if first_line == _header(_FIRST_COLUMNS):
            self._columns = _FIRST_COLUMNS
        elif not _header(_COLUMNS).startswith(first_line):
            expected = _header(_COLUMNS).decode().strip()
            raise InputError(f"{where}: line 1: expected the header {expected}; give CsvSink a new file.")
        if run.start_step == 0 and first_line.endswith(b"\n"):
            remedy = "give CsvSink a new path for each run, or remove the file"
            raise InputError(f"{where}: the rows of another run; {remedy}.")


def _header(columns: Sequence[str]) -> bytes:
    return (",".join(columns) + "\n").encode()
