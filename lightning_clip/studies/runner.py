"""`run_study`: run every cell of a study on an engine and collect the results; `run_cell`: run one cell."""

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import seed_everything

from lightning_clip._errors import InputError
from lightning_clip.studies.cell import Cell
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.engines import Engine, ProcessEngine
from lightning_clip.studies.environment import environment
from lightning_clip.studies.expected_metrics import check_metrics
from lightning_clip.studies.experiment import Experiment
from lightning_clip.studies.factory import build
from lightning_clip.studies.results import ResultsFolder, StudyResults
from lightning_clip.studies.same_runs import copied, same_runs
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

    Cells that are the same run under different names are run once, and share its result. A metric that no run has is
    found before the first run.

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
            running a study in it, the engine is not available, or no run has a metric that the study asks for.
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
    earlier = folder.read() if folder.has_results() else StudyResults(study.name, [])
    if any(result not in finished for result in earlier.runs):
        raise InputError(
            f"{folder.path}: contains results that would be lost; name a new folder, or pass them as `finished`"
        )
    cells = study.cells()
    results = {result.key: result for result in finished}
    waiting = [(cell, folder.record_of(cell.key)) for cell in cells if cell.key not in results]
    environments = list(earlier.environments)
    if waiting:
        check_metrics(study)
        environments += [here] if (here := environment()) not in environments else []
    groups = same_runs(waiting)
    others = {group[0][0].key: group for group in groups}
    order = dict.fromkeys([*(cell.key for cell in cells), *results])  # keeps what the study no longer includes
    engine = engine if engine and waiting else ProcessEngine()  # start no cluster if there is nothing to run
    try:
        with engine.started(jobs, len(groups)) as places:
            folder.records.mkdir(parents=True, exist_ok=True)
            save = partial(folder.write, study.name, experiment=study.experiment, environments=environments)
            save(finished)
            with closing(engine.run(run_cell, [group[0] for group in groups], places)) as running:
                for result in running:
                    (_, record), *same = others[result.key]
                    new = [result, *(copied(result, record, to=other) for other in same)]
                    results |= {one.key: one for one in new}
                    save([results[key] for key in order if key in results])
                    for one in new:
                        on_result(one)
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
