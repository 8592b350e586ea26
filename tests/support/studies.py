"""Studies that take less than a second, as Python and as the YAML file that a user would write."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml

from lightning_clip import MLPRegressor
from lightning_clip.studies import ResultsFolder, Study
from lightning_clip.studies.comparison.result import RunResult

CONTENT: dict[str, Any] = {
    "name": "tiny",
    "data": {"class_path": "lightning_clip.RegressionDataModule"},
    "models": {"mlp": {"class_path": "lightning_clip.MLPRegressor"}},
    "strategies": {
        "none": {"class_path": "lightning_clip.NoClip"},
        "norm-1.0": {"class_path": "lightning_clip.NormClip", "init_args": {"max_norm": 1.0}},
    },
    "seeds": 2,
    "max_epochs": 1,
}


def tiny_study(**changes: Any) -> Study:
    """Two strategies and two seeds of one epoch: 16 steps, before which the unclipped run has diverged."""
    return Study(**{**CONTENT, **changes})


def written_study(folder: Path, **changes: Any) -> Path:
    """The same as a file."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**CONTENT, **changes}, sort_keys=False), encoding="utf-8")
    return path


def result(strategy: str = "norm-1.0", seed: int = 0, **changes: Any) -> RunResult:
    """A run that was never made."""
    finished = RunResult("mlp", strategy, seed, False, None, 16, 0.25, 0.5, {"train_mse": 1.5, "test_mse": 2.5})
    return replace(finished, **changes)


def timeless(results: list[RunResult]) -> list[RunResult]:
    """Everything but how long it took."""
    return [replace(one, seconds=0.0) for one in results]


def timeless_runs(folder: Path) -> list[dict[str, Any]]:
    """The runs in a `results.json`, but how long they took."""
    runs = json.loads((folder / "results.json").read_text(encoding="utf-8"))["runs"]
    return [{**run, "seconds": None} for run in runs]


def steps_in(record: Path) -> list[dict[str, Any]]:
    """The steps in a record."""
    rows = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if "step" in row]


def is_same_study(one: ResultsFolder, other: ResultsFolder) -> bool:
    """Whether two studies have the same results and the same steps in their records."""
    names = [sorted(path.name for path in folder.records.iterdir()) for folder in (one, other)]
    return (
        names[0] == names[1]
        and timeless_runs(one.path) == timeless_runs(other.path)
        and all(steps_in(one.records / name) == steps_in(other.records / name) for name in names[0])
    )


class BrokenMLP(MLPRegressor):
    """Fails at its second step, as a module with a defect does."""

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        if batch_idx == 1:
            raise RuntimeError("a defect")
        return super().training_step(batch, batch_idx)


class WaitingMLP(MLPRegressor):
    """Its runs last until somebody ends them, from the seed on that `WAIT_FROM_SEED` names."""

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        if batch_idx == 3 and torch.initial_seed() >= int(os.environ.get("WAIT_FROM_SEED", "1000")):
            time.sleep(300)
        return super().training_step(batch, batch_idx)


class ForgetfulMLP(MLPRegressor):
    """Trains well, and is not a number when it is tested."""

    def test_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        self.log("test_mse", torch.tensor(float("nan")))


class DenormalMLP(MLPRegressor):
    """Measures what half of a denormal number is."""

    def test_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        self.log("test_denormal", torch.tensor(1e-40) * 0.5)
