"""Studies that take less than a second, in Python and as a YAML file that a user would write."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Callback

from lightning_clip import MLPRegressor, NoClip
from lightning_clip.core.strategy import ClipStrategy
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
    """Return a study of two strategies, two seeds and one epoch of 16 steps; the unclipped run diverges earlier."""
    return Study(**{**CONTENT, **changes})


def written_study(folder: Path, **changes: Any) -> Path:
    """Write the same study to a file and return its path."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**CONTENT, **changes}, sort_keys=False), encoding="utf-8")
    return path


def result(strategy: str = "norm-1.0", seed: int = 0, **changes: Any) -> RunResult:
    """Return the result of an imaginary run."""
    finished = RunResult("mlp", strategy, seed, False, None, 16, 0.25, 0.5, {"train_mse": 1.5, "test_mse": 2.5})
    return replace(finished, **changes)


def timeless(results: list[RunResult]) -> list[RunResult]:
    """Return results with their duration set to 0."""
    return [replace(one, seconds=0.0) for one in results]


def timeless_runs(folder: Path) -> list[dict[str, Any]]:
    """Return the runs in a `results.json` without their duration."""
    runs = json.loads((folder / "results.json").read_text(encoding="utf-8"))["runs"]
    return [{**run, "seconds": None} for run in runs]


def steps_in(record: Path) -> list[dict[str, Any]]:
    """Return the step lines of a record."""
    rows = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if "step" in row]


def is_same_study(one: ResultsFolder, other: ResultsFolder) -> bool:
    """Return whether two studies have the same results and the same steps in their records."""
    names = [sorted(path.name for path in folder.records.iterdir()) for folder in (one, other)]
    return (
        names[0] == names[1]
        and timeless_runs(one.path) == timeless_runs(other.path)
        and all(steps_in(one.records / name) == steps_in(other.records / name) for name in names[0])
    )


class BrokenMLP(MLPRegressor):
    """Raises an error at its second step, like a module with a bug."""

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
    """Trains well, but its test metric is NaN."""

    def test_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        self.log("test_mse", torch.tensor(float("nan")))


class DenormalMLP(MLPRegressor):
    """Logs half of a denormal number as its test metric."""

    def test_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        self.log("test_denormal", torch.tensor(1e-40) * 0.5)


class FixedMLP(MLPRegressor):
    """A subclass with other arguments, as people write them."""

    def __init__(self, in_features: int = 20, out_features: int = 1, width: int = 7) -> None:
        super().__init__(in_features, [width], out_features)


class MismatchedMLP(MLPRegressor):
    """Raises in its constructor, as a module with a bug does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        raise ValueError("Foo(a, b): the shapes do not match here")


class MismatchedTraining(MLPRegressor):
    """Raises in training."""

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        raise ValueError("Foo(a, b): the shapes do not match here")


class ReadingMLP(MLPRegressor):
    """Reads files in training: one that it is given, and one that it has by default."""

    def __init__(self, *args: Any, path: str = "", default_path: str = "default.txt", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.path = path
        self.default_path = default_path

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        Path(self.path or self.default_path).read_text(encoding="utf-8")
        return super().training_step(batch, batch_idx)


class MismatchedCallback(Callback):
    """Raises while the Trainer is built."""

    @property
    def state_key(self) -> str:
        raise ValueError("Foo(a, b): the shapes do not match here")


class MismatchedClip(NoClip):
    """Raises in its constructor, as a strategy with a bug does."""

    def __init__(self) -> None:
        super().__init__()
        raise ValueError("Foo(a, b): the shapes do not match here")


def mismatched_clip() -> ClipStrategy:
    """A function that makes a strategy, or would."""
    return MismatchedClip()
