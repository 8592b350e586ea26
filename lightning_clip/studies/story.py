"""What `lightning-clip report` does: show results again, from files alone."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType

from lightning_clip.studies.comparison.result import RunResult, key_in_words
from lightning_clip._errors import InputError
from lightning_clip.studies.comparison.report import render_comparison
from lightning_clip.reports.console import render_report
from lightning_clip.sinks.jsonl import read_jsonl
from lightning_clip.studies.showcase import showcase
from lightning_clip.studies.flow_reports import flow_reports
from lightning_clip.studies.results import ResultsFolder


def show(path: Path) -> int:
    """Print the report of a study's folder or of one run's record again.

    Args:
        path: The folder, or the `.jsonl` file.

    Returns:
        The exit code.

    Raises:
        InputError: There is nothing to report, or it cannot be read.
    """
    console = Console()
    if path.is_dir():
        folder = ResultsFolder(path)
        console.print(story(*folder.read(), folder))
    else:
        try:
            run, history = read_jsonl(path)
        except ValueError as error:
            raise InputError(str(error)) from error
        console.print(render_report(history, run))
    return 0


def story(study: str, results: Sequence[RunResult], folder: ResultsFolder) -> RenderableType:
    """The comparison, and what clipping changes: a run that failed beside one that did not.

    Where a study is about the gradient through time, its profiles come last.

    Args:
        study: The name of the study.
        results: Its finished runs.
        folder: Where their records are.

    Returns:
        What to print.
    """
    parts: list[RenderableType] = [render_comparison(results, title=study)]
    for result in showcase(results):
        record = folder.record_of(result.key)
        if record.exists():
            run, history = read_jsonl(record)
            parts.append(render_report(history, run, title=key_in_words(result.key)))
    return Group(*parts, *flow_reports(results, folder))
