"""`step_schedulers`: what Lightning does to learning rate schedulers, where optimisation is manual and it does not."""

from typing import Any, Literal

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule
from torch.optim.lr_scheduler import ReduceLROnPlateau


def step_schedulers(module: LightningModule, interval: Literal["step", "epoch"]) -> None:
    """Move the schedulers that are due, by the module's own `lr_scheduler_step`.

    What `ReduceLROnPlateau` watches is named by the attribute `monitor` of the scheduler, or else of the module:
    Lightning drops the key of this name in manual optimisation.

    Args:
        module: The module that is trained, after an optimizer step or at the end of an epoch.
        interval: Which of the two.

    Raises:
        MisconfigurationException: A scheduler watches a metric that has not been logged.
    """
    passed = module.global_step if interval == "step" else module.current_epoch + 1
    for config in module.trainer.lr_scheduler_configs:
        if config.interval == interval and passed % config.frequency == 0:
            watches = isinstance(config.scheduler, ReduceLROnPlateau)
            module.lr_scheduler_step(config.scheduler, _watched(module, config.scheduler) if watches else None)


def _watched(module: LightningModule, scheduler: Any) -> Any:
    metrics = module.trainer.callback_metrics
    monitor = getattr(scheduler, "monitor", getattr(module, "monitor", None))
    if monitor not in metrics:
        raise MisconfigurationException(
            f"{type(scheduler).__name__} watches {monitor!r}, which has not been logged; there are "
            f"{', '.join(sorted(metrics)) or 'no metrics'}. Set `monitor` of {type(module).__name__} to one of them."
        )
    return metrics[monitor]
