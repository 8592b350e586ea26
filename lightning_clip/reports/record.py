"""`RunRecord`: the record of one run as one object; `load_record` reads it from a file."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from lightning_clip._checks import check_count, check_each, check_path
from lightning_clip.core.record.history import History
from lightning_clip.core.record.run_info import RunInfo
from lightning_clip.reports.as_dict import comparison_dict, record_dict
from lightning_clip.reports.comparison import Comparison, Difference, difference_between, is_whole
from lightning_clip.reports.diagnosis.rule import Finding
from lightning_clip.reports.diagnosis.rules import diagnose
from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.html import html_page, in_a_frame
from lightning_clip.sinks.jsonl_reader import read_jsonl
from lightning_clip.sinks.jsonl_steps import first_different_step

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lightning_clip.reports.text import Report

__all__ = ["RecordComparison", "RunRecord", "load_record"]


class _Shown(ABC):
    """What shows itself in a terminal and in a notebook."""

    @abstractmethod
    def report(self) -> "Report":
        """A renderable for rich's consoles that also prints itself."""

    @abstractmethod
    def to_html(self) -> str:
        """One HTML page that needs no other file and no network."""

    def __str__(self) -> str:
        return str(self.report())

    def __rich__(self) -> "Report":
        return self.report()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return in_a_frame(self.to_html())


@dataclass(frozen=True)
class RunRecord(_Shown):
    """What was recorded of one run, and what can be said about it.

    Attributes:
        run: What was run.
        history: The steps, events and measurements.
        path: The file it was read from, which holds every step; `None` if it was not read from one.
    """

    run: RunInfo
    history: History
    path: Path | None = None

    @cached_property
    def evidence(self) -> Evidence:
        """The record, summarized."""
        return Evidence.of(self.history, self.run)

    def diagnose(self) -> list[Finding]:
        """What is wrong with the run and what to do about it, the most severe first."""
        return diagnose(self.evidence)

    def report(self, *, max_parameters: int | None = None) -> "Report":
        """The report of the run: a renderable for rich's consoles that also prints itself.

        Args:
            max_parameters: The number of parameters to list; by default, those with the largest share.
        """
        from lightning_clip.reports.console import report_on  # rich is not needed for a diagnosis

        check_count("report", at_least=1, **({} if max_parameters is None else {"max_parameters": max_parameters}))
        return report_on(replace(self.evidence, max_parameters=max_parameters))

    def figure(self) -> "Figure":
        """The run as a matplotlib figure; save it with `savefig`.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        from lightning_clip.reports.figures.run import plot_report

        return plot_report(self.history, self.run)

    def to_html(self, *, max_parameters: int | None = None) -> str:
        """The run as one HTML page that needs no other file and no network.

        Args:
            max_parameters: The number of parameters to list; 200 by default.
        """
        check_count("to_html", at_least=1, **({} if max_parameters is None else {"max_parameters": max_parameters}))
        return html_page([self.run.model or "run"], [replace(self.evidence, max_parameters=max_parameters)])

    def to_dict(self) -> dict[str, Any]:
        """The run as plain data for JSON: run, optimizers, parameters, events and findings, versioned."""
        return record_dict(self.evidence)

    def compare(self, *others: "RunRecord", names: Sequence[str] = ()) -> "RecordComparison":
        """Put this run and others side by side.

        Args:
            *others: The records of the other runs.
            names: What each run is called, this one first; by default letters, or numbers if there are too many.

        Returns:
            Where they part, their numbers, and the findings that came or went; it prints itself.

        Raises:
            ArgumentError: There is no other record, or not one name for each.
        """
        check_each("compare", RunRecord, others=others)
        records = [self, *others]
        letters = ascii_uppercase if len(records) <= len(ascii_uppercase) else map(str, range(1, len(records) + 1))
        return RecordComparison(
            names or list(letters)[: len(records)],
            [one.evidence for one in records],
            [one.path for one in records],
        )


@dataclass(frozen=True)
class RecordComparison(Comparison, _Shown):
    """Runs side by side that print themselves; `RunRecord.compare` makes one.

    Attributes:
        paths: The file of each record; `None` where there is none.
    """

    paths: Sequence[Path | None] = ()

    @cached_property
    def differences(self) -> tuple[Difference | None, ...]:
        """Where each further record parts from the first one; `None` if the two are the same.

        Where the histories no longer hold that step, it is looked up in the files.
        """
        found = super().differences
        if not self.paths or all(is_whole(one.history) for one in self.records):
            return found
        return tuple(map(self._exactly, found, self.paths[1:]))

    def _exactly(self, found: Difference | None, path: Path | None) -> Difference | None:
        first = self.paths[0]
        steps = first_different_step(first, path) if first is not None and path is not None else None
        return difference_between(*steps) if steps is not None else found

    def report(self) -> "Report":
        """The comparison: a renderable for rich's consoles that also prints itself."""
        from lightning_clip.reports.sections.side_by_side import side_by_side

        return side_by_side(self)

    def figure(self) -> "Figure":
        """Norms and losses on the same axes, as a matplotlib figure.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        from lightning_clip.reports.figures.side_by_side import plot_records

        return plot_records(self)

    def to_html(self) -> str:
        """The comparison and each run as one HTML page that needs no other file and no network."""
        return html_page(self.names, self.records, self)

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain data for JSON, versioned."""
        return comparison_dict(self)


def load_record(path: str | os.PathLike[str]) -> RunRecord:
    """Read the record of a run from a file.

    Args:
        path: A file that a `JsonlSink` has written.

    Returns:
        The record.

    Raises:
        ArgumentError: `path` is not a path.
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
    check_path("load_record", path=path)
    return RunRecord(*read_jsonl(path), Path(path))


def load_records(paths: Sequence[str | os.PathLike[str]]) -> list[RunRecord]:
    """Read several records, long ones at the same time, each in a process of its own where processes can be forked.

    Args:
        paths: Files that a `JsonlSink` has written.

    Returns:
        The records.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: A line is not what it should be; names the file, the line, and what was expected.
    """
    later = paths[1:]
    is_long = all(os.path.getsize(path) >= _LONG for path in paths)
    if not later or not is_long or "fork" not in get_all_start_methods() or (os.cpu_count() or 1) < 2:
        return [load_record(path) for path in paths]
    processes = min(len(later), (os.cpu_count() or 2) - 1)
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        others = [pool.submit(load_record, path) for path in later]
        return [load_record(paths[0]), *(other.result() for other in others)]


_LONG = 20_000_000
"""From so many bytes on, reading takes longer than starting a process."""
