"""`flow_reports`: what runs have measured of the gradient through time, from their records."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.rule import Rule
from rich.text import Text

from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.core.recurrent.temporal_profile import temporal_profiles
from lightning_clip.reports.sections.temporal import temporal_section
from lightning_clip.sinks.jsonl import read_jsonl
from lightning_clip.studies.results import ResultsFolder

GROWTH_RATE = "growth_rate"
"""The metric that says that a study is about it."""


def flow_reports(results: Sequence[RunResult], folder: ResultsFolder) -> Iterator[RenderableType]:
    """The first run of each model, where its growth rate is a metric of the study.

    Args:
        results: The finished runs.
        folder: Where their records are.

    Returns:
        What to print: a heading and the profiles of each run.
    """
    first = {result.model: result for result in reversed(results) if result.metrics.get(GROWTH_RATE) is not None}
    for result in reversed(first.values()):
        _, history = read_jsonl(folder.record_of(result.key))
        yield Rule(Text(f"{result.model}, seed {result.seed}", style="bold"), style="cyan", align="left")
        for profiles in temporal_profiles(history.measurements).values():
            yield from temporal_section(profiles)
