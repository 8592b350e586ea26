"""`StudyProgress`: the progress of a study, as a table and a bar in a terminal, or as lines in a pipe."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from lightning_clip._errors import printable
from lightning_clip.reports.formats import count, counted
from lightning_clip.studies.comparison.metrics import DEAD, SOLVED, STEPS_TO_SOLVE, metric_names
from lightning_clip.studies.comparison.result import RunResult, key_in_words
from lightning_clip.studies.comparison.standings import Standing, standings
from lightning_clip.studies.comparison.table import ComparisonTable

_LINES_AROUND = 9
"""The lines that the headings of the table, its legend, the bar and the prompt need."""


class StudyProgress:
    """In a terminal, the medians so far above a bar with the time left; elsewhere, a line for each finished run.

    A table that is higher than the terminal shows the strategies that changed last.

    Args:
        console: The console to print to.
        study: The name of the study.
        cells: The number of runs in the study.
        finished: The results that there already are.
    """

    def __init__(self, console: Console, study: str, cells: int, *, finished: Sequence[RunResult] = ()) -> None:
        self._console = console
        self._cells = cells
        self._results = list(finished)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[latest]}", markup=False),
        )
        self._bar = Progress(*columns, console=console, auto_refresh=False)
        self._task = self._bar.add_task(study, total=cells, completed=len(finished), latest="")
        self._live = Live(self._shown(), console=console, transient=True, refresh_per_second=2)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def advance(self, result: RunResult) -> None:
        """Show that one more run has finished.

        Args:
            result: The result of the run.
        """
        self._results.append(result)
        latest = printable(f"{key_in_words(result.key)}: {_outcome(result)}")
        self._bar.update(self._task, advance=1, latest=latest)
        if self._console.is_terminal:
            self._live.update(self._shown())
        else:
            place = f"[{len(self._results)}/{self._cells}]"
            self._console.print(f"{place} {latest}", markup=False, highlight=False, soft_wrap=True)

    def _shown(self) -> RenderableType:
        if not self._results:
            return self._bar
        rows = standings(self._results)
        room = max(self._console.height - _LINES_AROUND - len({row.model for row in rows}), 1)
        hidden = Text(f"  {counted(len(rows) - room, 'more row')} finished earlier", "dim")
        table = ComparisonTable(self._latest(rows, room), metric_names(self._results))
        return Group(table, *[hidden] * (len(rows) > room), self._bar)

    def _latest(self, rows: Sequence[Standing], at_most: int) -> list[Standing]:
        """The rows of the runs that finished last, in the order of the study."""
        latest = {run.key[:3]: number for number, run in enumerate(self._results)}
        by_age = sorted(rows, key=lambda row: -latest[row.model, row.strategy, tuple(row.axes.items())])
        kept = by_age[:at_most]
        return [row for row in rows if row in kept]


def _outcome(result: RunResult) -> str:
    if result.diverged:
        return f"diverged at step {result.diverged_at_step}"
    seconds, solved = f"{result.seconds:.1f} s", result.metrics.get(SOLVED)
    if solved is None:
        return seconds
    if result.metrics.get(DEAD):
        return f"dead at step {count(result.steps)} ({seconds})"
    if not solved:
        return f"not solved in {counted(result.steps, 'step')} ({seconds})"
    return f"solved at step {count(result.metrics.get(STEPS_TO_SOLVE) or result.steps)} ({seconds})"
