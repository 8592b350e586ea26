"""`run_study`: hand the cells of a study to an engine, and collect the results; `run_cell`: run one of them."""

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
from lightning_clip.studies.quiet import quiet_lightning
from lightning_clip.studies.results import ResultsFolder
from lightning_clip.studies.study import Study
from lightning_clip.studies.training import Training

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
    """Run every cell of a study that is not finished; results are on disk as soon as each run ends.

    Args:
        study: What to run.
        folder: Where results and records are written.
        jobs: How many runs at a time; `None` for as many as there is room for.
        engine: Where they are made; `ProcessEngine` by default, whose single job runs them in this process.
        finished: Results of an interrupted study, which are kept.
        on_result: Called with each result as it comes.

    Returns:
        All results, in the order of `study.cells()`, then those among `finished` that the study does not ask for.

    Raises:
        InputError: The folder holds results that are not among `finished`, and would be lost; or what the engine needs
            is not installed.
    """
    if folder.has_results() and any(result not in finished for result in folder.read().runs):
        raise InputError(f"{folder.path}: it holds results; name another folder, or give them as `finished` to go on")
    cells = study.cells()
    results = {result.key: result for result in finished}
    waiting = [(cell, folder.record_of(cell.key)) for cell in cells if cell.key not in results]
    order = dict.fromkeys([*(cell.key for cell in cells), *results])  # a run that the study no longer asks for is kept
    engine = engine if engine and waiting else ProcessEngine()  # a cluster is not started for nothing
    with engine.started(jobs, len(waiting)) as places:
        folder.records.mkdir(parents=True, exist_ok=True)
        folder.write(study.name, finished, experiment=study.experiment)
        with closing(engine.run(run_cell, waiting, places)) as running:
            for result in running:
                results[result.key] = result
                so_far = [results[key] for key in order if key in results]
                folder.write(study.name, so_far, experiment=study.experiment)
                on_result(result)
    return [results[key] for key in order]


def run_cell(cell: Cell, record: Path) -> RunResult:
    """Run once, on one thread, with numbers below 1e-38 taken as zero.

    Gradients that vanish become such numbers, with which a CPU is many times slower.

    Args:
        cell: What to run.
        record: The file that the run is recorded in, step by step.

    Returns:
        What came out.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        with quiet_lightning():
            seed_everything(cell.seed, verbose=False)
            record.unlink(missing_ok=True)  # of a run that was interrupted
            experiment: Experiment = Training()
            if cell.experiment is not None:
                experiment = build(Experiment, cell.experiment)  # type: ignore[type-abstract]
            return experiment.run(cell, record)
    finally:
        torch.set_flush_denormal(False)


def can_flush_denormals() -> bool:
    """Whether this CPU can take numbers below 1e-38 as zero, as every run does if it can."""
    return torch.set_flush_denormal(False)
