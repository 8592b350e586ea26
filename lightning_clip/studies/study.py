"""`Study`: what to compare."""

from collections import Counter
from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import yaml
from lightning.pytorch import LightningDataModule, LightningModule

from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.errors import InputError
from lightning_clip.studies.cell import Cell, make_trainer
from lightning_clip.studies.factory import Config, build
from lightning_clip.studies.quiet import quiet_lightning

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
            InputError: A part cannot be built; the message says which and why.
        """
        self._check_types()
        groups: list[tuple[str, type, dict[str, Config]]] = [
            ("models.", LightningModule, self.models),
            ("strategies.", ClipStrategy, self.strategies),
            ("data", LightningDataModule, {"": self.data}),
        ]
        for group, base, configs in groups:
            for name, config in configs.items():
                try:
                    build(base, config)
                except ValueError as error:
                    raise InputError(f"{group}{name}: {error}") from error
        try:
            with quiet_lightning():
                make_trainer([], self._trainer_options())
        except Exception as error:  # which kinds there are is Lightning's to say
            raise InputError(f"max_epochs or trainer: {error}") from error
        self._check_grid()

    def _check_types(self) -> None:
        for name, hint in get_type_hints(Study).items():
            kind, value = get_origin(hint) or hint, getattr(self, name)
            if not isinstance(value, kind):
                raise InputError(f"{name}: expected {_WORDS[kind]}, found {value!r}")
        for group, names in (("name", [self.name]), ("models", self.models), ("strategies", self.strategies)):
            for name in names:
                if not isinstance(name, str) or not name or set(name) & set("/\\"):
                    raise InputError(f"{group}: {name!r}: a name is part of a file name: a string without slashes")

    def _check_grid(self) -> None:
        for model, strategies in self.grid.items():
            unknown = {model} - self.models.keys() | set(strategies) - self.strategies.keys()
            if unknown:
                raise InputError(f"grid.{model}: {', '.join(sorted(unknown))}: not among the models and strategies")
        if self.seeds < 1:
            raise InputError(f"seeds: {self.seeds}: a study needs at least one seed")
        pairs = Counter(f"{cell.model_name}-{cell.strategy_name}" for cell in self.cells() if cell.seed == 0)
        if not pairs:
            raise InputError("models, strategies: a study needs at least one of each")
        twice = [pair for pair, count in pairs.items() if count > 1]
        if twice:
            raise InputError(f"models, strategies: two runs would have the same record, {twice[0]}: rename one")

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


_WORDS: dict[type, str] = {str: "a string", int: "a whole number", dict: "keys and values"}


def load_study(source: str | Path) -> Study:
    """Read a study from a YAML file, or one that comes with the package.

    Args:
        source: A path, or the name of a built-in study, for instance `"mlp-regression"`.

    Returns:
        The study, checked.

    Raises:
        InputError: It cannot be read, or does not describe a study; one line that says where and why.
    """
    text = _text_of(source)
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{source}: not a YAML file: {' '.join(str(error).split())}") from error
    known = [f.name for f in fields(Study)]
    required = known[:4]
    if not isinstance(content, dict) or not set(required) <= content.keys() <= set(known):
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise InputError(
            f"{source}: expected the keys {', '.join(required)} (and {', '.join(known[4:])}), found {found}"
        )
    study = Study(**content)
    try:
        study.check()
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    return study


def built_in_studies() -> list[str]:
    """The names of the studies that come with the package."""
    folder = files("lightning_clip.configs") / "studies"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _text_of(source: str | Path) -> str:
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        if str(source) not in built_in_studies():
            raise InputError(
                f"{source}: no such study; built in are {', '.join(built_in_studies())}, or give a .yaml file"
            )
        return (files("lightning_clip.configs") / "studies" / f"{source}.yaml").read_text(encoding="utf-8")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise InputError(f"{source}: cannot be read: {reason}") from error
