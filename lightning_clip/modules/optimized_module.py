"""`OptimizedModule`: the ground of every module here, which is given its optimizer and scheduler from outside."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Literal

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_clip._errors import ArgumentError

# The same types as in `lightning.pytorch.cli`, whose import costs more than all of this package.
OptimizerCallable = Callable[[Iterable[Any]], Optimizer]
LRSchedulerCallable = Callable[[Optimizer], LRScheduler]


class OptimizedModule(LightningModule):
    """A LightningModule whose optimizer and scheduler are made by callables, as LightningCLI writes them in YAML.

    A subclass may default `optimizer` to a `lambda` in its signature: the command line shows and overrides its
    arguments, and the module still pickles.

    Args:
        optimizer: Makes the optimizer from the parameters.
        scheduler: Makes the learning rate scheduler from the optimizer; `None` keeps the rate constant.
        scheduler_interval: Whether the scheduler moves after each epoch or after each optimizer step.
        monitor: Metric that `ReduceLROnPlateau` watches, where it names none itself.
    """

    def __init__(
        self,
        *,
        optimizer: OptimizerCallable,
        scheduler: LRSchedulerCallable | None,
        scheduler_interval: Literal["epoch", "step"],
        monitor: str,
    ) -> None:
        super().__init__()
        if scheduler_interval not in ("epoch", "step"):
            call = f"{type(self).__name__}(scheduler_interval={scheduler_interval!r})"
            raise ArgumentError(f"{call}: scheduler_interval must be 'epoch' or 'step'.")
        self.optimizer: OptimizerCallable = optimizer
        self.scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self.monitor = monitor

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer over all parameters and, where there is one, its scheduler."""
        optimizer = self.optimizer(self.parameters())
        if self.scheduler is None:
            return optimizer
        scheduler = self.scheduler(optimizer)
        monitor = getattr(scheduler, "monitor", self.monitor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": self.scheduler_interval, "monitor": monitor},
        }

    def log_step(self, name: str, value: Tensor) -> None:
        """Log a value of one training step, when a logger is about to write and at the end of an epoch.

        `self.log` at every step costs a small network more than its backward pass, and what it is given between two
        writes is thrown away.

        Args:
            name: Metric name.
            value: `()`.
        """
        if self.logs_now():
            self.log(name, value, prog_bar=True)

    def logs_now(self) -> bool:
        """Whether a logger is about to write what this training step logs, or its epoch ends with it."""
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set while the Trainer is built
        return bool(self.trainer.is_last_batch or (every and (self.global_step + 1) % every == 0))

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if state["optimizer"] is self._default_optimizer():
            del state["optimizer"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({"optimizer": self._default_optimizer(), **state})  # type: ignore[no-untyped-call]

    @classmethod
    def _default_optimizer(cls) -> Any:
        return inspect.signature(cls).parameters["optimizer"].default
