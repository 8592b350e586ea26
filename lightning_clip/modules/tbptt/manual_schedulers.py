"""`step_schedulers`: steps learning rate schedulers in manual optimization, where Lightning does not."""

from typing import Any, Literal

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule
from torch.optim.lr_scheduler import ReduceLROnPlateau


def step_schedulers(module: LightningModule, interval: Literal["step", "epoch"]) -> None:
    """Step the schedulers that are due, with the module's `lr_scheduler_step`.

    `ReduceLROnPlateau` monitors the metric named by the attribute `monitor` of the scheduler, or else of the module,
    because Lightning drops the key `monitor` in manual optimization.

    Args:
        module: The module being trained, after an optimizer step or at the end of an epoch.
        interval: `"step"` after an optimizer step, `"epoch"` at the end of an epoch.

    Raises:
        MisconfigurationException: A scheduler monitors a metric that was not logged.
    """
    passed = module.global_step if interval == "step" else module.current_epoch + 1
    for config in module.trainer.lr_scheduler_configs:
        if config.interval == interval and passed % config.frequency == 0:
            has_monitor = isinstance(config.scheduler, ReduceLROnPlateau)
            module.lr_scheduler_step(config.scheduler, _monitored(module, config.scheduler) if has_monitor else None)


def _monitored(module: LightningModule, scheduler: Any) -> Any:
    metrics = module.trainer.callback_metrics
    monitor = getattr(scheduler, "monitor", getattr(module, "monitor", None))
    if monitor not in metrics:
        raise MisconfigurationException(
            f"{type(scheduler).__name__} monitors {monitor!r}, which was not logged. Set `monitor` of "
            f"{type(module).__name__} to a logged metric: {', '.join(sorted(metrics)) or 'there is none yet'}."
        )
    return metrics[monitor]
