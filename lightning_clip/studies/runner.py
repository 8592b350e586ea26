"""`run_study`: run every cell of a study on an engine and collect the results; `run_cell`: run one cell."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import torch
from lightning.pytorch import seed_everything

from lightning_clip._errors import InputError
from lightning_clip.studies.cell import Cell
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.engines import Engine, ProcessEngine
from lightning_clip.studies.experiment import Experiment
from lightning_clip.studies.factory import build
from lightning_clip.studies.results import ResultsFolder
from lightning_clip.studies.study import Study
from lightning_clip.studies.training import Training, quiet_lightning

__all__ = ["run_cell", "run_study"]


def run_study(
    study: Study,
    folder: ResultsFolder,
    *,
    jobs: int | None = 1,
    engine: Engine | None = None,
    finished: Sequence[RunResult] = (),
    on_result: Callable[[RunResult], None] = lambda result: None,
) -> list[RunResult]:
    """Run every unfinished cell of a study. Each result is on disk as soon as its run ends.

    Args:
        study: The study.
        folder: The folder for the results and records.
        jobs: The number of runs at a time; `None` for as many as fit.
        engine: Where to run. The default is `ProcessEngine`, which runs in this process if `jobs` is 1.
        finished: Results of an interrupted study, which are kept.
        on_result: Called with each new result.

    Returns:
        All results in the order of `study.cells()`, followed by those of `finished` that the study no longer includes.

    Raises:
        InputError: The folder contains results that are not among `finished` and would be lost, another process is
            running a study in it, or the engine is not available.
        Exception: An exception that a run raised.
    """
    with folder.claimed():
        return _run_claimed(study, folder, jobs, engine, finished, on_result)


def _run_claimed(
    study: Study,
    folder: ResultsFolder,
    jobs: int | None,
    engine: Engine | None,
    finished: Sequence[RunResult],
    on_result: Callable[[RunResult], None],
) -> list[RunResult]:
    if folder.has_results() and any(result not in finished for result in folder.read().runs):
        raise InputError(
            f"{folder.path}: contains results that would be lost; name a new folder, or pass them as `finished`"
        )
    cells = study.cells()
    results = {result.key: result for result in finished}
    waiting = [(cell, folder.record_of(cell.key)) for cell in cells if cell.key not in results]
    order = dict.fromkeys([*(cell.key for cell in cells), *results])  # keeps what the study no longer includes
    engine = engine if engine and waiting else ProcessEngine()  # start no cluster if there is nothing to run
    try:
        with engine.started(jobs, len(waiting)) as places:
            folder.records.mkdir(parents=True, exist_ok=True)
            folder.write(study.name, finished, experiment=study.experiment)
            with closing(engine.run(run_cell, waiting, places)) as running:
                for result in running:
                    results[result.key] = result
                    so_far = [results[key] for key in order if key in results]
                    folder.write(study.name, so_far, experiment=study.experiment)
                    on_result(result)
    except Exception:
        if not results:
            folder.discard(record for _, record in waiting)
        raise
    return [results[key] for key in order]


def run_cell(cell: Cell, record: Path) -> RunResult:
    """Run one cell with one torch thread, and with denormal numbers (below 1e-38) flushed to zero.

    Vanishing gradients become denormal, and with denormal numbers a CPU is many times slower.

    Args:
        cell: The cell to run.
        record: The path for the step-by-step record of the run.

    Returns:
        The result of the run.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        with quiet_lightning():
            seed_everything(cell.seed, verbose=False)
            record.unlink(missing_ok=True)  # an interrupted run may have left one
            experiment: Experiment = Training()
            if cell.experiment is not None:
                experiment = build(Experiment, cell.experiment)  # type: ignore[type-abstract]
            return experiment.run(cell, record)
    finally:
        torch.set_flush_denormal(False)


def can_flush_denormals() -> bool:
    """Whether this CPU can flush denormal numbers to zero, as every run does where possible."""
    return torch.set_flush_denormal(False)
