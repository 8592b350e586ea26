"""`Study`: what to compare."""

from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningDataModule, LightningModule

from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.studies.cell import Cell
from lightning_clip.studies.factory import Config, build

__all__ = ["Study", "built_in_studies", "load_study"]


@dataclass(frozen=True)
class Study:
    """A grid: every model under every strategy with every seed, on the same data.

    Attributes:
        name: What results are called.
        data: The data module, as `class_path` and `init_args`.
        models: The models by name, each as `class_path` and `init_args`.
        strategies: The clipping strategies by name, each as `class_path` and `init_args`.
        seeds: How many seeds, from 0.
        max_epochs: Length of a run, in epochs.
        grid: The strategies of each model, by model name; all strategies for each model where it is empty.
        trainer: Further arguments of the `Trainer`.
    """

    name: str
    data: Config
    models: dict[str, Config]
    strategies: dict[str, Config]
    seeds: int = 5
    max_epochs: int = 100
    grid: dict[str, list[str]] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Build each part once, so that a mistake shows before the first run.

        Raises:
            ValueError: A part cannot be built; the message says which and why.
        """
        groups: list[tuple[str, type, dict[str, Config]]] = [
            ("models", LightningModule, self.models),
            ("strategies", ClipStrategy, self.strategies),
            ("data", LightningDataModule, {"": self.data}),
        ]
        for group, base, configs in groups:
            for name, config in configs.items():
                try:
                    build(base, config)
                except ValueError as error:
                    raise ValueError(f"{group}{'.' if name else ''}{name}: {error}") from error
        for model, strategies in self.grid.items():
            unknown = {model} - self.models.keys() | set(strategies) - self.strategies.keys()
            if unknown:
                raise ValueError(f"grid.{model}: {', '.join(sorted(unknown))}: not among the models and strategies")
        if self.seeds < 1:
            raise ValueError(f"seeds: {self.seeds}: a study needs at least one seed")

    def cells(self) -> list[Cell]:
        """Every run of the study, in the order in which results are listed."""
        return [
            Cell(
                model, self.models[model], strategy, self.strategies[strategy], self.data, seed, self._trainer_options()
            )
            for model in self.models
            for strategy in (self.grid.get(model, []) if self.grid else self.strategies)
            for seed in range(self.seeds)
        ]

    def _trainer_options(self) -> dict[str, Any]:
        return {"max_epochs": self.max_epochs, **self.trainer}


def load_study(source: str | Path) -> Study:
    """Read a study from a YAML file, or one that comes with the package.

    Args:
        source: A path, or the name of a built-in study, for instance `"mlp-regression"`.

    Returns:
        The study, checked.

    Raises:
        ValueError: It cannot be read, or does not describe a study; one line that says where and why.
    """
    text = _text_of(source)
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{source}: not a YAML file: {' '.join(str(error).split())}") from error
    known = [f.name for f in fields(Study)]
    required = known[:4]
    if not isinstance(content, dict) or not set(required) <= content.keys() <= set(known):
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ValueError(
            f"{source}: expected the keys {', '.join(required)} (and {', '.join(known[4:])}), found {found}"
        )
    study = Study(**content)
    try:
        study.check()
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    return study


def built_in_studies() -> list[str]:
    """The names of the studies that come with the package."""
    folder = files("lightning_clip.configs") / "studies"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _text_of(source: str | Path) -> str:
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        if str(source) not in built_in_studies():
            raise ValueError(
                f"{source}: no such study; built in are {', '.join(built_in_studies())}, or give a .yaml file"
            )
        return (files("lightning_clip.configs") / "studies" / f"{source}.yaml").read_text(encoding="utf-8")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ValueError(f"{source}: cannot be read: {reason}") from error
