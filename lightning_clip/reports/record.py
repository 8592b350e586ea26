"""`RunRecord`: the record of one run as one object; `load_record` reads it from a file."""

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lightning_clip.core.record.history import History
from lightning_clip.core.record.run_info import RunInfo
from lightning_clip.reports.diagnosis.rule import Finding
from lightning_clip.reports.diagnosis.rules import diagnose
from lightning_clip.reports.evidence import Evidence
from lightning_clip.sinks.jsonl_reader import read_jsonl

if TYPE_CHECKING:
    from lightning_clip.reports.text import Report

__all__ = ["RunRecord", "load_record"]


@dataclass(frozen=True)
class RunRecord:
    """What was recorded of one run, and what can be said about it.

    Attributes:
        run: What was run.
        history: The steps, events and measurements.
    """

    run: RunInfo
    history: History

    @cached_property
    def evidence(self) -> Evidence:
        """The record, summarized."""
        return Evidence.of(self.history, self.run)

    def diagnose(self) -> list[Finding]:
        """What is wrong with the run and what to do about it, the most severe first."""
        return diagnose(self.evidence)

    def report(self) -> "Report":
        """The report of the run: a renderable for rich's consoles that also prints itself."""
        from lightning_clip.reports.console import report_on  # rich is not needed for a diagnosis

        return report_on(self.evidence)


def load_record(path: str | os.PathLike[str]) -> RunRecord:
    """Read the record of a run from a file.

    Args:
        path: A file that a `JsonlSink` has written.

    Returns:
        The record.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: A line is not what it should be; names the file, the line, and what was expected.

    Example:
        >>> import tempfile
        >>> from lightning_clip import JsonlSink
        >>> from lightning_clip.core import ParameterTotals, StepRecord
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sink = JsonlSink(f"{folder}/run.jsonl")
        ...     sink.open(RunInfo(model="MLPRegressor"))
        ...     sink.write([StepRecord(0, 0, "NoClip()", float("nan"), 1.0, None, 1.0, False, False, False)])
        ...     sink.close(RunInfo(), ParameterTotals())
        ...     record = load_record(sink.path)
        >>> record.run.model, [finding.title for finding in record.diagnose()]
        ('MLPRegressor', ['The gradient is NaN at step 0'])
    """
    return RunRecord(*read_jsonl(path))
