"""`check_metrics`: find a misspelled metric of a study before its first run."""

from collections.abc import Iterator

from lightning.pytorch import Callback, LightningDataModule, LightningModule, seed_everything

from lightning_clip._checks import did_you_mean
from lightning_clip._errors import InputError
from lightning_clip.studies.cell import Cell
from lightning_clip.studies.factory import build
from lightning_clip.studies.metrics.study_metric import StudyMetric
from lightning_clip.studies.study import Study
from lightning_clip.studies.training import make_trainer, quiet_lightning


def check_metrics(study: Study) -> None:
    """Raise unless every metric that a study asks for is a metric of at least one of its runs.

    Untrained models are tested on one batch, until each metric is found. A study without `metrics` keeps all, and the
    metrics of an experiment are not known before it runs: neither is checked.

    Args:
        study: The study.

    Raises:
        InputError: A metric is unknown. The message says which ones there are.
    """
    missing, known = set(study.metrics), dict[str, None]()
    if not missing or study.experiment is not None:
        return
    kinds = {f"{cell.model}{cell.data}{cell.callbacks}": cell for cell in study.cells()}
    for cell in kinds.values():
        known |= dict.fromkeys(_metrics_of(cell))
        missing -= known.keys()
        if not missing:
            return
    name = next(name for name in study.metrics if name in missing)
    shown = ", ".join(known) or "none"
    raise InputError(f"metrics: {name!r} is not among those of the runs: {shown}{did_you_mean(name, known)}")


def _metrics_of(cell: Cell) -> Iterator[str]:
    for config in cell.callbacks:
        callback = build(Callback, config)
        if isinstance(callback, StudyMetric):
            yield from callback.metrics
    if not cell.evaluate_on:
        return
    with quiet_lightning():
        seed_everything(cell.seed, verbose=False)
        data, model = build(LightningDataModule, cell.data or {}), build(LightningModule, cell.model)
        trainer = make_trainer([], {**cell.trainer, "limit_test_batches": 1})
        for name in trainer.test(model, datamodule=data, verbose=False)[0]:
            yield from (f"{split}_{name.removeprefix('test_')}" for split in cell.evaluate_on)
