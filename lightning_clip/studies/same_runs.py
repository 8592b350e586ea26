"""`same_runs`: cells of a study that are the same run under different names, so that it is made once."""

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule

from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.studies.cell import Cell
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.factory import with_defaults

Waiting = tuple[Cell, Path]


def same_runs(waiting: Iterable[Waiting]) -> list[list[Waiting]]:
    """Group cells whose runs would give the same numbers, bit for bit.

    Such cells have the same seed, and the same configurations once the defaults of each class are filled in. An
    experiment may look at names and axes, so its cells are never the same.

    Args:
        waiting: Cells, and the paths of their records.

    Returns:
        Groups of cells, in order of their first one; most have one cell.
    """
    known: dict[str, str] = {}
    groups: dict[Any, list[Waiting]] = {}
    for cell, record in waiting:
        key = cell.key if cell.experiment is not None else _content(cell, known)
        groups.setdefault(key, []).append((cell, record))
    return list(groups.values())


def copied(result: RunResult, record: Path, to: Waiting) -> RunResult:
    """Give the result and the record of a run to another cell of its group.

    Args:
        result: The result of the run.
        record: The path of its record, which may be missing.
        to: The other cell, and the path for its record.

    Returns:
        The result under the name of the other cell.
    """
    cell, path = to
    if record.exists():
        shutil.copyfile(record, path)
    return replace(result, model=cell.model_name, strategy=cell.strategy_name, axes=dict(cell.axes))


def _content(cell: Cell, known: dict[str, str]) -> tuple[Any, ...]:
    parts = [(LightningModule, cell.model), (ClipStrategy, cell.strategy), (LightningDataModule, cell.data)]
    parts += [(Callback, config) for config in cell.callbacks]
    filled = []
    for base, config in parts:
        name = f"{base.__name__}{config}"
        known[name] = known.get(name) or with_defaults(base, config or {})
        filled.append(known[name])
    return cell.seed, repr(dict(cell.trainer)), cell.evaluate_on, cell.metrics, *filled
