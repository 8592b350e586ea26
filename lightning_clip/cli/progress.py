"""`StudyProgress`: the progress of a study, as a bar in a terminal or as lines in a pipe."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lightning_clip._errors import printable
from lightning_clip.reports.formats import count, counted
from lightning_clip.studies.comparison.metrics import DEAD, SOLVED, STEPS_TO_SOLVE
from lightning_clip.studies.comparison.result import RunResult, key_in_words


class StudyProgress:
    """A progress bar in a terminal; elsewhere, a line for each finished run.

    Args:
        console: The console to print to.
        study: The name of the study.
        cells: The number of runs in the study.
        done: The number of runs that have already finished.
    """

    def __init__(self, console: Console, study: str, cells: int, *, done: int = 0) -> None:
        self._console = console
        self._cells = cells
        self._done = done
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[latest]}", markup=False),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(study, total=cells, completed=done, latest="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, result: RunResult) -> None:
        """Show that one more run has finished.

        Args:
            result: The result of the run.
        """
        self._done += 1
        latest = printable(f"{key_in_words(result.key)}: {_outcome(result)}")
        self._bar.update(self._task, advance=1, latest=latest)
        if not self._console.is_terminal:
            self._console.print(f"[{self._done}/{self._cells}] {latest}", markup=False, highlight=False, soft_wrap=True)


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
