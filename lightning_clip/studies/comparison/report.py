"""`render_comparison`: the results of a study in the terminal."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from lightning_clip.reports.formats import count, counted
from lightning_clip.reports.text import Report
from lightning_clip.studies.comparison.conclusions import conclusions
from lightning_clip.studies.comparison.metrics import main_metric, metric_names
from lightning_clip.studies.comparison.pivot import pivot, varied_axes
from lightning_clip.studies.comparison.pivot_table import PivotTable
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.comparison.standings import Standing, standings
from lightning_clip.studies.comparison.table import ComparisonTable

__all__ = ["render_comparison"]


def render_comparison(results: Sequence[RunResult], *, title: str = "") -> Report:
    """Show the runs of a study side by side, and state what they show.

    If the study also varies an axis, for instance a length, a small table of the results at each of its values comes
    first, and the whole table last.

    Args:
        results: The results of the runs.
        title: The title, for instance the name of the study.

    Returns:
        A report for a rich console; `print` prints it too.

    Example:
        >>> from lightning_clip.reports.text import to_text
        >>> runs = [RunResult("mlp", "none", 0, True, 3, 3, 0.1, 0.0, {"test_mse": None})]
        >>> to_text(render_comparison(runs), width=100).splitlines()[-1].strip()
        'Every run of none diverged, by step 3 at the latest.'
    """
    rows, metrics = standings(results), metric_names(results)
    heading = Text(f"Comparison: {title}" if title else "Comparison", style="bold")
    words = Text(" ".join(conclusions(rows, metrics)))
    rule = Rule(heading, style="cyan", align="left")
    if not rows:
        return Report(rule, Padding(words, (1, 2, 1, 2)))
    return Report(rule, *_head(results, rows), *_body(rows, metrics, words))


def _head(results: Sequence[RunResult], rows: Sequence[Standing]) -> Iterator[RenderableType]:
    yield Padding(Text(_extent(results, rows), "dim"), (0, 2, 0, 2))
    for description in dict.fromkeys(result.data for result in results if result.data):
        yield Padding(Text(f"data: {description}", "dim"), (0, 2, 0, 2))


def _body(rows: Sequence[Standing], metrics: Sequence[str], words: Text) -> list[RenderableType]:
    table = ComparisonTable(rows, metrics)
    by_axis = pivot(rows)
    if by_axis is None:
        return [table, Padding(words, (1, 2, 1, 2))]
    return [Text(), PivotTable(by_axis, main_metric(metrics)), Padding(words, (1, 2, 0, 2)), table, Text()]


def _extent(results: Sequence[RunResult], rows: Sequence[Standing]) -> str:
    axes = varied_axes(rows)
    models = len({row.model for row in rows})
    fixed = ", ".join(f"{name} {value}" for name, value in rows[0].axes.items() if name not in axes)
    extent = [rows[0].model if models == 1 else counted(models, "model")]
    extent[0] += f" ({fixed})" if fixed else ""
    strategies = len({row.strategy for row in rows})
    extent += ["1 strategy" if strategies == 1 else f"{count(strategies)} strategies"]
    extent += [f"{len(values)} values of {name}" for name, values in axes.items()]
    extent += [counted(len({result.seed for result in results}), "seed"), counted(len(results), "run")]
    has_task = any(row.solved is not None for row in rows)
    steps = ", steps over those that solved the task" if has_task else ""
    return ", ".join(extent) + f"; metrics are medians over the runs that did not diverge{steps}"
