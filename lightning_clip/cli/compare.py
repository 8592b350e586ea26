"""`compare`: run a study, print the comparison and keep the results."""

import shlex
import time
from dataclasses import replace
from pathlib import Path

from jsonargparse.typing import PositiveInt
from rich.console import Console

from lightning_clip._errors import InputError
from lightning_clip.cli.parser import OneLineParser
from lightning_clip.cli.progress import StudyProgress
from lightning_clip.reports.formats import counted, duration
from lightning_clip.reports.text import to_text
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.engines import ENGINES, Engine
from lightning_clip.studies.figure import write_picture
from lightning_clip.studies.results import ResultsFolder, StudyResults, next_free_folder
from lightning_clip.studies.runner import can_flush_denormals, run_study
from lightning_clip.studies.story import story
from lightning_clip.studies.study_file import load_study

_ENGINE = """\
where the runs are made: in processes of this machine (forked, or joblib's loky), on a Dask cluster
(DASK_SCHEDULER_ADDRESS, or one that is started here) or on a Ray cluster (RAY_ADDRESS, or one that is started here);
dask and ray are extras"""


def run(args: list[str]) -> int:
    """Run the command.

    Args:
        args: The command and its options.

    Returns:
        The exit code.
    """
    parser = OneLineParser(prog="lightning-clip compare", description="Run a study and print the comparison.")
    parser.add_argument("--config", default="mlp-regression", help="a study's YAML file, or the name of a built-in one")
    parser.add_argument("--seeds", type=PositiveInt, help="number of seeds; the study's own number by default")
    parser.add_argument("--jobs", type=PositiveInt, help="runs at a time; by default one for each core, or worker")
    parser.add_argument("--engine", choices=list(ENGINES), default="processes", help=_ENGINE)
    parser.add_argument("--output", help="folder for the results; by default a new one under runs/")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted study in --output")
    options = parser.parse_args(args[1:])
    return compare(
        options.config,
        seeds=options.seeds,
        jobs=options.jobs,
        output=Path(options.output) if options.output else None,
        resume=options.resume,
        command=shlex.join(["lightning-clip", *args]),
        engine=ENGINES[options.engine](),
    )


def compare(
    config: str,
    *,
    seeds: int | None,
    jobs: int | None,
    output: Path | None,
    resume: bool,
    command: str,
    engine: Engine | None = None,
) -> int:
    """Run a study, show it, and keep what it has measured.

    Args:
        config: A study's YAML file, or the name of a built-in one.
        seeds: How many seeds, instead of the study's own number.
        jobs: Runs at a time; as many as there is room for if `None`.
        output: The folder for the results; a new one if `None`.
        resume: Whether to go on with what `output` holds.
        command: What the user typed, to say how to go on.
        engine: Where the runs are made; processes of this machine if `None`.

    Returns:
        The exit code.

    Raises:
        InputError: The study cannot be read, the folder is in use, or what the engine needs is not installed.
    """
    study = load_study(config)
    if seeds is not None:
        study = replace(study, seeds=seeds)
    if resume and output is None:
        raise InputError("--resume: name the folder of the interrupted study with --output")
    folder = ResultsFolder(output or next_free_folder(Path("runs"), study.name))
    finished = _finished(folder, study.name, resume)
    cells = len({cell.key for cell in study.cells()} | {result.key for result in finished})
    console = Console()
    start = time.perf_counter()
    try:
        with StudyProgress(console, study.name, cells, done=len(finished)) as progress:
            results = run_study(study, folder, jobs=jobs, engine=engine, finished=finished, on_result=progress.advance)
    except (KeyboardInterrupt, SystemExit):
        done = folder.read().runs if folder.has_results() else []
        again = command if "--resume" in command else f"{command} --resume"
        again += "" if output else f" --output {folder.path}"
        _say(console, f"Interrupted: {len(done)} of {cells} runs are in {folder.path}. Go on with: {again}")
        return 130
    seconds = time.perf_counter() - start
    renderable = story(StudyResults(study.name, results, study.experiment), folder)
    console.print(renderable)
    folder.report.write_text(to_text(renderable, width=100), encoding="utf-8")
    if len(finished) < cells:
        _say(console, f"{counted(cells - len(finished), 'run')} in {duration(seconds)}")
    if can_flush_denormals():
        _say(console, _ON_DENORMALS, "dim")
    _say(console, f"Results: {folder.path}")
    if picture := write_picture(study, results, folder):
        _say(console, f"Picture: {picture}")
    if (record := folder.record_of(results[-1].key)).exists():
        _say(console, f"Any run in detail: lightning-clip report {record}")
    return 0


_ON_DENORMALS = (
    "Runs flush denormal numbers to zero (torch.set_flush_denormal): "
    "gradients that vanish would make a CPU many times slower."
)


def _say(console: Console, line: str, style: str = "") -> None:
    """Print a line that may be copied: without breaks and marks."""
    console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def _finished(folder: ResultsFolder, study: str, resume: bool) -> list[RunResult]:
    """The runs that need not be made again."""
    if not resume:
        if folder.is_used():
            raise InputError(
                f"--output {folder.path}: there is something in it already; "
                "name another folder, or go on with it by --resume"
            )
        return []
    if not folder.is_used():
        return []
    found = folder.read()
    if found.study != study:
        raise InputError(
            f"--output {folder.path}: it holds the study {found.study!r}, not {study!r}; name another folder"
        )
    return found.runs
