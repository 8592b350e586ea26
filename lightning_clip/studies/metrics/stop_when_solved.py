"""`StopWhenSolved`: a run ends at success or death."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from typing_extensions import override

from lightning_clip._checks import check_count
from lightning_clip._errors import ArgumentError
from lightning_clip.studies.metrics.study_metric import StudyMetric

__all__ = ["StopWhenSolved"]


class StopWhenSolved(StudyMetric):
    """Ask now and then whether the task is solved, and stop the training when it is, or never will be.

    Solved means: fewer than `error` of all test sequences are wrong by the data module's own criterion,
    `wrong(outputs, targets)`. Training never sees those sequences. As soon as too many are wrong the rest is not
    looked at, so that asking an untrained network is cheap.

    Dead means: the outputs are the same, bit for bit, whatever the inputs. That is what one step too long leaves of a
    network of ReLU units: all of them are off, no gradient passes through them any more, and nothing will change that.

    Args:
        error: Share of wrong sequences below which the task is solved, in (0, 1).
        every_n_steps: How often to ask, in optimizer steps; the end of the training is always asked.

    Attributes:
        metrics: `solved`, 1 or 0; `steps_to_solve`, optimizer steps, `None` where it is not solved; `dead`, 1 or 0.

    Raises:
        ValueError: An argument is out of range.
        TypeError: `every_n_steps` is not a whole number.
        MisconfigurationException: At fit, if the data module does not say which outputs are wrong.

    Example:
        >>> StopWhenSolved(error=0.01).metrics
        {'solved': 0.0, 'steps_to_solve': None, 'dead': 0.0}

    References:
        Razvan Pascanu, Tomas Mikolov and Yoshua Bengio, "On the difficulty of training recurrent neural networks",
        2013, https://arxiv.org/abs/1211.5063: success is an error below 1 % on 10,000 sequences.
    """

    def __init__(self, error: float = 0.01, *, every_n_steps: int = 250) -> None:
        super().__init__()
        if not 0 < error < 1:
            raise ArgumentError(f"StopWhenSolved(error={error!r}): error must be a share between 0 and 1.")
        check_count("StopWhenSolved", every_n_steps=every_n_steps)
        self.error = error
        self.every_n_steps = every_n_steps
        self._solved_at: int | None = None
        self._is_dead = False

    @property
    @override
    def metrics(self) -> dict[str, float | None]:
        solved = float(self._solved_at is not None)
        return {"solved": solved, "steps_to_solve": self._solved_at, "dead": float(self._is_dead)}

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not hasattr(trainer.datamodule, "wrong"):  # type: ignore[attr-defined]
            raise MisconfigurationException(
                "StopWhenSolved needs a data module with the method `wrong(outputs, targets)`, as "
                "TemporalOrderDataModule and the other generated tasks have: leave the callback out for other data."
            )

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % self.every_n_steps == 0:
            self._ask(trainer, pl_module)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._solved_at is None:
            self._ask(trainer, pl_module)

    def _ask(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        with evaluating(pl_module):
            if is_solved(pl_module, data, self.error):
                self._solved_at = trainer.global_step
            else:
                self._is_dead = is_dead(pl_module, data)
        trainer.should_stop = trainer.should_stop or self._is_dead or self._solved_at is not None


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without autograd; afterwards the model is in the mode in which it was."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def is_solved(model: nn.Module, data: Any, limit: float) -> bool:
    """Whether a model gets fewer than a share of the test sequences wrong.

    Args:
        model: From inputs to outputs.
        data: A data module with `test_dataloader()`, `n_test` and `wrong(outputs, targets)`.
        limit: The share, in (0, 1).

    Returns:
        The answer; a sequence whose outputs are not finite is wrong.
    """
    allowed: float = limit * data.n_test
    wrong = 0
    for inputs, targets in data.test_dataloader():
        wrong += int(data.wrong(model(inputs), targets).sum())
        if wrong >= allowed:
            return False
    return True


def is_dead(model: nn.Module, data: Any) -> bool:
    """Whether a model gives the same finite outputs for all sequences of the first test batch, which has several."""
    inputs, _ = next(iter(data.test_dataloader()))
    outputs: Tensor = model(inputs)
    return len(outputs) > 1 and bool(outputs.isfinite().all() and (outputs == outputs[:1]).all())
