"""`RichGradientReport`: prints a gradient report in the terminal at the end of a fit."""

import sys

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from typing_extensions import override

from lightning_clip.callbacks._gradient_observer import observers
from lightning_clip.callbacks.gradient_monitor import GradientMonitor


class RichGradientReport(Callback):
    """Print a report at the end of a fit, even if it ends with an exception or Ctrl-C.

    The report shows the norm before and after clipping, how many steps were clipped and what that means, each
    parameter's share (of recurrent layers by path and gate), and the first findings of the diagnosis. It uses the
    record of the trainer's `GradientClipping` and `GradientMonitor` callbacks; if there is none, it adds a
    `GradientMonitor`.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[RichGradientReport()], logger=False, accelerator="cpu")
    """

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and not observers(trainer):
            trainer.callbacks.append(GradientMonitor())  # type: ignore[attr-defined]  # set while the Trainer is built

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._print(trainer)

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._print(trainer)

    def _print(self, trainer: Trainer) -> None:
        from rich import get_console

        from lightning_clip.reports.console import render_report
        from lightning_clip.reports.text import to_text

        if not trainer.is_global_zero:
            return
        bar = trainer.progress_bar_callback
        for observer in observers(trainer):
            if not observer.history:
                continue
            report = render_report(observer.history, observer.run)
            if isinstance(bar, RichProgressBar):
                bar.print(report)
            elif bar is not None:
                bar.print(to_text(report, width=get_console().width))
            else:
                sys.stdout.write(to_text(report, width=get_console().width) + "\n")
