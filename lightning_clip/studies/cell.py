"""`Cell`: one run of a study."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_clip.studies.comparison.result import Axes, RunKey, run_key
from lightning_clip.studies.factory import Config

__all__ = ["Cell"]


@dataclass(frozen=True)
class Cell:
    """One run: a model, a strategy, a setting and a seed. Every object is built from its configuration after seeding.

    Attributes:
        model_name: The name of the model in the study.
        model: The configuration of the model.
        strategy_name: The name of the strategy in the study.
        strategy: The configuration of the strategy.
        data: The configuration of the data module; `None` if the experiment needs none.
        seed: The seed of Python, NumPy and torch.
        trainer: The arguments of the `Trainer`.
        axes: The values that distinguish this run's setting, for instance `{"length": 100}`.
        callbacks: The configurations of further callbacks.
        evaluate_on: The splits that the trained model is tested on: `"train"`, `"test"`.
        metrics: The metrics to keep, in this order; all if empty.
        experiment: The configuration of the experiment; `None` for training.
    """

    model_name: str
    model: Config
    strategy_name: str
    strategy: Config
    data: Config | None
    seed: int
    trainer: Mapping[str, Any] = field(default_factory=dict)
    axes: Axes = field(default_factory=dict)
    callbacks: tuple[Config, ...] = ()
    evaluate_on: tuple[str, ...] = ("train", "test")
    metrics: tuple[str, ...] = ()
    experiment: Config | None = None

    @property
    def key(self) -> RunKey:
        """What identifies the run within its study."""
        return run_key(self.model_name, self.strategy_name, self.axes, self.seed)
