"""`StopWhenSolved`: end a run when the task is solved, or when the network is dead."""

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
    """Test every few steps whether the task is solved, and stop training once it is or can no longer be.

    The task is solved when a fraction below `error` of the test sequences is wrong by the data module's own criterion,
    `wrong(outputs, targets)`. The network never trains on these sequences. A test stops as soon as too many sequences
    are wrong, so that testing an untrained network is cheap.

    The network is dead when its outputs are the same, bit for bit, for all inputs. A single step that is too long can
    do that to ReLU units: all of them turn off, no gradient passes through them, and they never recover.

    Args:
        error: The fraction of wrong sequences below which the task is solved, in (0, 1).
        every_n_steps: How often to test, in optimizer steps. There is always a test at the end of training.

    Attributes:
        metrics: `solved`, 1 or 0; `steps_to_solve`, in optimizer steps, `None` if not solved; `dead`, 1 or 0.

    Raises:
        ArgumentError: An argument is out of range.
        ArgumentTypeError: `every_n_steps` is not a whole number.
        MisconfigurationException: At fit, if the data module has no method `wrong`.

    Example:
        >>> StopWhenSolved(error=0.01).metrics
        {'solved': 0.0, 'steps_to_solve': None, 'dead': 0.0}

    References:
        Razvan Pascanu, Tomas Mikolov and Yoshua Bengio, "On the difficulty of training recurrent neural networks",
        2013, https://arxiv.org/abs/1211.5063: success is an error below 1% on 10,000 sequences.
    """

    def __init__(self, error: float = 0.01, *, every_n_steps: int = 250) -> None:
        super().__init__()
        if not 0 < error < 1:
            raise ArgumentError(f"StopWhenSolved(error={error!r}): error must be a fraction between 0 and 1.")
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
                "TemporalOrderDataModule and the other generated tasks have: remove the callback for other data."
            )

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % self.every_n_steps == 0:
            self._test(trainer, pl_module)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._solved_at is None:
            self._test(trainer, pl_module)

    def _test(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        with evaluating(pl_module):
            if is_solved(pl_module, data, self.error):
                self._solved_at = trainer.global_step
            else:
                self._is_dead = is_dead(pl_module, data)
        trainer.should_stop = trainer.should_stop or self._is_dead or self._solved_at is not None


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode without autograd for the length of a `with` block, then restore its mode."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def is_solved(model: nn.Module, data: Any, limit: float) -> bool:
    """Whether a model gets fewer than a fraction of the test sequences wrong.

    Args:
        model: Maps inputs to outputs.
        data: A data module with `test_dataloader()`, `n_test` and `wrong(outputs, targets)`.
        limit: The fraction, in (0, 1).

    Returns:
        Whether the task is solved. A sequence with NaN or infinite outputs counts as wrong.
    """
    allowed: float = limit * data.n_test
    wrong = 0
    for inputs, targets in data.test_dataloader():
        wrong += int(data.wrong(model(inputs), targets).sum())
        if wrong >= allowed:
            return False
    return True


def is_dead(model: nn.Module, data: Any) -> bool:
    """Whether a model gives the same finite outputs for all sequences of the first test batch."""
    inputs, _ = next(iter(data.test_dataloader()))
    outputs: Tensor = model(inputs)
    return len(outputs) > 1 and bool(outputs.isfinite().all() and (outputs == outputs[:1]).all())
