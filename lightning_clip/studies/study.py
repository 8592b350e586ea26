"""`Study`: the models, strategies, settings and seeds to compare."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lightning_clip.studies.cell import Cell
from lightning_clip.studies.factory import Config

__all__ = ["Study"]

OVERRIDES = ("data", "model", "trainer", "experiment")
"""The parts of a cell that a setting or a strategy may change."""


@dataclass(frozen=True)
class Study:
    """A grid: every model with every strategy in every setting with every seed.

    Attributes:
        name: The name of the study. Its results folder is named after it.
        models: The models by name, each as `class_path` and `init_args`; `{}` if an experiment brings its own.
        strategies: The clipping strategies by name, each as `class_path` and `init_args`. A strategy may also change
            `data`, `model`, `trainer` and `experiment`, for remedies other than clipping.
        data: The data module as `class_path` and `init_args`. An experiment may need none.
        settings: Variations other than models and strategies. A setting has `axes` (a number or a word by name, for
            instance `{length: 100}`); changes to `data`, every `model`, `trainer` and `experiment`; its own
            `callbacks`; and the names of its `models` and `strategies`, by default all.
        seeds: The number of seeds.
        first_seed: The first seed; the others follow it.
        max_epochs: Length of a run, in epochs.
        grid: The strategies of each model, by model name; if empty, each model runs with all strategies.
        trainer: Further arguments of the `Trainer`.
        callbacks: Callbacks of each training run, as `class_path` and `init_args`. A `StudyMetric` adds metrics.
        evaluate_on: The splits that a trained model is tested on.
        metrics: The metrics to keep, in this order; all if empty.
        experiment: What to do in each cell, as `class_path` and `init_args`; training by default.
    """

    name: str
    models: dict[str, Config]
    strategies: dict[str, Config]
    data: Config | None = None
    settings: list[dict[str, Any]] = field(default_factory=list)
    seeds: int = 5
    max_epochs: int = 100
    grid: dict[str, list[str]] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    callbacks: list[Config] = field(default_factory=list)
    evaluate_on: list[str] = field(default_factory=lambda: ["train", "test"])
    metrics: list[str] = field(default_factory=list)
    experiment: Config | None = None
    first_seed: int = 0

    def cells(self) -> list[Cell]:
        """Return every run of the study, in the order in which results are listed."""
        return [
            self._cell(setting, model, strategy, seed)
            for setting in self.settings or [{}]
            for model, strategy in self._pairs(setting)
            for seed in range(self.first_seed, self.first_seed + self.seeds)
        ]

    def _pairs(self, setting: dict[str, Any]) -> Iterator[tuple[str, str]]:
        for model in setting.get("models", self.models):
            allowed = self.grid.get(model, []) if self.grid else self.strategies
            yield from ((model, strategy) for strategy in allowed if strategy in setting.get("strategies", allowed))

    def _cell(self, setting: dict[str, Any], model: str, strategy: str, seed: int) -> Cell:
        parts: dict[str, Any] = {
            "data": self.data,
            "model": self.models[model],
            "trainer": {"max_epochs": self.max_epochs, **self.trainer},
            "experiment": self.experiment,
        }
        for changes in (setting, self.strategies[strategy]):
            parts = {n: overridden(part, changes[n]) if n in changes else part for n, part in parts.items()}
        return Cell(
            model_name=model,
            strategy_name=strategy,
            strategy={key: value for key, value in self.strategies[strategy].items() if key not in OVERRIDES},
            seed=seed,
            axes=setting.get("axes", {}),
            callbacks=tuple(setting.get("callbacks", self.callbacks)),
            evaluate_on=tuple(self.evaluate_on),
            metrics=tuple(self.metrics),
            **parts,
        )


def overridden(config: Any, changes: Any) -> Any:
    """Replace some values of a configuration, at any depth.

    Mappings are merged key by key; anything else is replaced. If the changes name another `class_path`, the arguments
    of the old class are dropped.

    Args:
        config: The configuration. It is not modified.
        changes: The new values.

    Returns:
        A new configuration.

    Example:
        >>> sgd = {"class_path": "SGD", "init_args": {"lr": 0.1, "momentum": 0.9}}
        >>> overridden(sgd, {"init_args": {"lr": 0.2}})
        {'class_path': 'SGD', 'init_args': {'lr': 0.2, 'momentum': 0.9}}
        >>> overridden(sgd, {"class_path": "Adam", "init_args": {"lr": 0.2}})
        {'class_path': 'Adam', 'init_args': {'lr': 0.2}}
    """
    if not isinstance(config, dict) or not isinstance(changes, dict):
        return changes
    if changes.get("class_path", config.get("class_path")) != config.get("class_path"):
        return changes
    return {**config, **{key: overridden(config.get(key), value) for key, value in changes.items()}}
