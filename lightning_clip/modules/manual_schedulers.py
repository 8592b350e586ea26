"""`step_schedulers`: what Lightning does to learning rate schedulers, where optimisation is manual and it does not."""

from typing import Any, Literal

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule


def step_schedulers(module: LightningModule, interval: Literal["step", "epoch"]) -> None:
    """Move the schedulers that are due, by the module's own `lr_scheduler_step`.

    Args:
        module: The module that is trained, after an optimizer step or at the end of an epoch.
        interval: Which of the two.

    Raises:
        MisconfigurationException: A scheduler watches a metric that has not been logged.
    """
    passed = module.global_step if interval == "step" else module.current_epoch + 1
    for config in module.trainer.lr_scheduler_configs:
        if config.interval == interval and passed % config.frequency == 0:
            metric = _watched(module, config) if config.reduce_on_plateau else None
            module.lr_scheduler_step(config.scheduler, metric)


def _watched(module: LightningModule, config: Any) -> Any:
    metrics = module.trainer.callback_metrics
    if config.monitor not in metrics:
        raise MisconfigurationException(
            f"{type(config.scheduler).__name__} watches {config.monitor!r}, which has not been logged; "
            f"there are {', '.join(sorted(metrics)) or 'no metrics'}."
        )
    return metrics[config.monitor]
