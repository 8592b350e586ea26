"""`Cell`: one run of a study."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_clip.studies.comparison.result import Axes, RunKey, run_key
from lightning_clip.studies.factory import Config

__all__ = ["Cell"]


@dataclass(frozen=True)
class Cell:
    """One run: a model, a strategy, a setting and a seed, everything built fresh from its configuration after seeding.

    Attributes:
        model_name: The model's name in the study.
        model: The model's configuration.
        strategy_name: The strategy's name in the study.
        strategy: The strategy's configuration.
        data: The data module's configuration; `None` where the experiment needs none.
        seed: Seeds Python, numpy and torch.
        trainer: Arguments of the `Trainer`.
        axes: What else tells this run apart, for instance `{"length": 100}`.
        callbacks: Configurations of what takes part in the training.
        evaluate_on: Which data the trained model is tested on: `"train"`, `"test"`.
        metrics: Which metrics are kept, in this order; all where it is empty.
        experiment: The configuration of what is done; `None` for training.
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
        """What tells a run apart from the others of its study."""
        return run_key(self.model_name, self.strategy_name, self.axes, self.seed)
