"""`compare`: run a study, print the comparison and save the results."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console

from lightning_clip._errors import InputError, printable
from lightning_clip.cli.progress import StudyProgress
from lightning_clip.reports.formats import counted, duration
from lightning_clip.reports.text import output_console, to_text
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.engines import Engine
from lightning_clip.studies.results import ResultsFolder, next_free_folder
from lightning_clip.studies.runner import can_flush_denormals, run_study
from lightning_clip.studies.story import story, write_figure, write_learning_curves
from lightning_clip.studies.study_file import load_study


def compare(
    config: str,
    *,
    seeds: int | None,
    first_seed: int | None = None,
    jobs: int | None,
    output: Path | None,
    resume: bool,
    command: str,
    engine: Engine | None = None,
) -> int:
    """Run a study, print the comparison and save the results.

    Args:
        config: A study's YAML file, or the name of a built-in study.
        seeds: The number of seeds; `None` for the study's own.
        first_seed: The first seed; `None` for the study's own.
        jobs: The number of runs at a time; `None` for as many as fit.
        output: The folder for the results; `None` for a new one under `runs/`.
        resume: Whether to continue the study in `output`.
        command: The command that the user typed, for the message that says how to resume.
        engine: Where to run; in processes on this machine if `None`.

    Returns:
        The exit code: 0; 130 after Ctrl-C and 143 after SIGTERM.

    Raises:
        InputError: The study cannot be read, the folder is in use, or the engine is not available.
    """
    study = load_study(config)
    study = replace(study, seeds=seeds or study.seeds)
    study = replace(study, first_seed=study.first_seed if first_seed is None else first_seed)
    if resume and output is None:
        raise InputError("--resume: name the folder of the interrupted study with --output")
    folder = ResultsFolder(output or next_free_folder(Path("runs"), study.name))
    finished = _finished(folder, study.name, resume)
    cells = len({cell.key for cell in study.cells()} | {result.key for result in finished})
    console = output_console()
    start = time.perf_counter()
    try:
        with StudyProgress(console, study.name, cells, finished=finished) as progress, _ended_by_sigterm():
            results = run_study(study, folder, jobs=jobs, engine=engine, finished=finished, on_result=progress.advance)
    except (KeyboardInterrupt, SystemExit) as end:
        done = folder.read().runs if folder.has_results() else []
        again = command if "--resume" in command else f"{command} --resume"
        again += "" if output else f" --output {folder.path}"
        _say(console, f"Interrupted: {len(done)} of {cells} runs are in {folder.path}. Resume with: {again}")
        is_sigterm = isinstance(end, SIGTERMException) or (isinstance(end, SystemExit) and end.code == _SIGTERM_CODE)
        return _SIGTERM_CODE if is_sigterm else 130
    seconds = time.perf_counter() - start
    renderable = story(folder.read(), folder)
    console.print(renderable)
    try:
        folder.report.write_text(to_text(renderable, width=100), encoding="utf-8")
        figures = [write_figure(study, results, folder), write_learning_curves(study, results, folder)]
    except OSError as error:
        raise InputError(f"{folder.path}: the runs are saved, the report is not: {error.strerror}") from error
    if len(finished) < cells:
        _say(console, f"{counted(cells - len(finished), 'run')} in {duration(seconds)}")
    if can_flush_denormals():
        _say(console, _ON_DENORMALS, "dim")
    _say(console, f"Results: {folder.path}")
    for figure in filter(None, figures):
        _say(console, f"Figure: {figure}")
    if (record := folder.record_of(results[-1].key)).exists():
        _say(console, f"One run in detail: lightning-clip report {record}")
    return 0


_SIGTERM_CODE = 128 + signal.SIGTERM


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, so that the finished runs are reported. A scheduler sends it before it kills."""

    def end(*_: object) -> None:
        raise SystemExit(_SIGTERM_CODE)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


_ON_DENORMALS = (
    "All runs flushed denormal numbers to zero (torch.set_flush_denormal): "
    "with denormal gradients, a CPU is many times slower."
)


def _say(console: Console, line: str, style: str = "") -> None:
    """Print a line that people copy: without line breaks or markup."""
    console.print(printable(line), style=style, markup=False, highlight=False, soft_wrap=True)


def _finished(folder: ResultsFolder, study: str, resume: bool) -> list[RunResult]:
    """The results of the runs that need not be repeated."""
    if not folder.is_used():
        return []
    if not resume:
        raise InputError(
            f"--output {folder.path}: this path is in use; name a new folder, or continue the study in it with --resume"
        )
    found = folder.read()
    if found.study != study:
        raise InputError(
            f"--output {folder.path}: contains the study {found.study!r}, not {study!r}; name a new folder"
        )
    return found.runs
