"""`OptimizedModule`: the base class of all modules here. The caller chooses its optimizer and scheduler."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_clip._checks import check_choice
from lightning_clip._errors import ArgumentError, ArgumentTypeError

T = TypeVar("T")

# The same types as in `lightning.pytorch.cli`, which takes longer to import than this whole package.
OptimizerCallable = Callable[[Iterable[Any]], Optimizer]
LRSchedulerCallable = Callable[[Optimizer], LRScheduler]


class OptimizedModule(LightningModule):
    """A LightningModule whose optimizer and scheduler are built by callables, as LightningCLI configures them.

    A subclass may use a `lambda` as the default of `optimizer`. The command line can show and override the arguments
    in it, and the module can still be pickled.

    Args:
        optimizer: Builds the optimizer from the parameters.
        scheduler: Builds the learning rate scheduler from the optimizer; `None` keeps the rate constant.
        scheduler_interval: Whether to step the scheduler after every epoch or after every optimizer step.
        monitor: Metric that `ReduceLROnPlateau` monitors, unless it names one itself.
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
        check_choice(type(self).__name__, ("epoch", "step"), scheduler_interval=scheduler_interval)
        for name, given in (("optimizer", optimizer), ("scheduler", scheduler)):
            if not callable(given) and not (name == "scheduler" and given is None):
                call = f"{type(self).__name__}({name}={given!r})"
                raise ArgumentTypeError(f"{call}: {name} must be a function, such as functools.partial(SGD, lr=0.1).")
        self.optimizer: OptimizerCallable = optimizer
        self.scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self.monitor = monitor

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer over all parameters and, if there is one, its scheduler."""
        optimizer = self._built("optimizer", self.optimizer, self.parameters())
        if self.scheduler is None:
            return optimizer
        scheduler = self._built("scheduler", self.scheduler, optimizer)
        monitor = getattr(scheduler, "monitor", self.monitor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": self.scheduler_interval, "monitor": monitor},
        }

    def _built(self, name: str, build: Callable[[Any], T], on: Any) -> T:
        try:
            return build(on)
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"{type(self).__name__}: {name}: {error}") from error

    def log_step(self, name: str, value: Tensor) -> None:
        """Log a value of one training step, but only when a logger is about to write or the epoch ends.

        For a small network, calling `self.log` at every step costs more than the backward pass, and values logged
        between two writes are discarded anyway.

        Args:
            name: Name of the metric.
            value: `()`.
        """
        if self.logs_now():
            self.log(name, value, prog_bar=True)

    def logs_now(self) -> bool:
        """Whether a logger is about to write the values of this training step, or the epoch ends with it."""
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
