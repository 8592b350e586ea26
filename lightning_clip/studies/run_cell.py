"""`run_cell`: from a cell of a study to its result."""

from pathlib import Path

import torch
from lightning.pytorch import seed_everything

from lightning_clip.studies.cell import Cell
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.experiment import Experiment
from lightning_clip.studies.factory import build
from lightning_clip.studies.quiet import quiet_lightning
from lightning_clip.studies.training import Training

__all__ = ["run_cell"]


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
