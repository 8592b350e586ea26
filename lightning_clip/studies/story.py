"""`story`: everything that is printed about a finished study, from its results and records."""

from collections.abc import Iterator

from rich.console import Group, RenderableType

from lightning_clip.reports.console import render_report
from lightning_clip.sinks.jsonl_reader import read_jsonl
from lightning_clip.studies.comparison.report import render_comparison
from lightning_clip.studies.comparison.result import key_in_words
from lightning_clip.studies.results import ResultsFolder, StudyResults
from lightning_clip.studies.showcase import showcase


def story(results: StudyResults, folder: ResultsFolder) -> RenderableType:
    """The comparison, a failed run beside the same run with clipping, and what the experiment adds.

    Args:
        results: The finished runs of a study.
        folder: Where their records are.

    Returns:
        What to print.
    """
    parts: list[RenderableType] = [render_comparison(results.runs, title=results.study)]
    for result in showcase(results.runs):
        record = folder.record_of(result.key)
        if record.exists():
            run, history = read_jsonl(record)
            parts.append(render_report(history, run, title=key_in_words(result.key)))
    return Group(*parts, *_of_experiment(results, folder))


def _of_experiment(results: StudyResults, folder: ResultsFolder) -> Iterator[RenderableType]:
    if results.experiment is not None:
        from lightning_clip.studies.experiment import Experiment  # what is built may need torch and Lightning
        from lightning_clip.studies.factory import build

        experiment: Experiment = build(Experiment, results.experiment)  # type: ignore[type-abstract]
        yield from experiment.report(results.runs, folder.record_of)
