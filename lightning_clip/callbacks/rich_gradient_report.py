"""`RichGradientReport`: prints a gradient report in the terminal at the end of a fit."""

import sys
from contextlib import suppress
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from typing_extensions import override

from lightning_clip._compat import is_kind
from lightning_clip._errors import reason_of
from lightning_clip.callbacks._gradient_observer import observers
from lightning_clip.callbacks._worker_exit import at_worker_exit
from lightning_clip.callbacks.gradient_monitor import GradientMonitor


class RichGradientReport(Callback):
    """Print a report at the end of a fit, even if it ends with an exception or Ctrl-C.

    The report shows the norm before and after clipping, how many steps were clipped and what that means, each
    parameter's share (of recurrent layers by path and gate), and the first findings of the diagnosis. It uses the
    record of the trainer's `GradientClipping` and `GradientMonitor` callbacks; if there is none, it adds a
    `GradientMonitor`.

    Each fit prints once, after Lightning's progress bar. An output that lacks the characters of the charts gets ASCII
    in their place, and a report that cannot be printed is one warning.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[RichGradientReport()], logger=False, accelerator="cpu")
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_due = False

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._is_due = False
        if stage == "fit" and not observers(trainer):
            trainer.callbacks.append(GradientMonitor())  # type: ignore[attr-defined]  # set while the Trainer is built

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        callbacks = trainer.callbacks  # type: ignore[attr-defined]  # set while the Trainer is built
        reports = [callback for callback in callbacks if isinstance(callback, RichGradientReport)]
        self._is_due = reports[0] is self  # of several reports, one prints
        at_worker_exit(self._print_once, trainer, pl_module)

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._print_once(trainer, pl_module)

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        with suppress(Warning):  # where warnings are errors, they must not replace the user's exception
            self._print_once(trainer, pl_module)

    def _print_once(self, trainer: Trainer, pl_module: LightningModule) -> None:
        is_due, self._is_due = self._is_due, False
        if not is_due or not trainer.is_global_zero:
            return
        try:
            self._print(trainer, pl_module)
        except Exception as error:
            rank_zero_warn(f"RichGradientReport cannot print its report: {reason_of(error)}")

    def _print(self, trainer: Trainer, pl_module: LightningModule) -> None:
        from rich import get_console

        from lightning_clip.reports.console import render_report
        from lightning_clip.reports.encoding import encodable
        from lightning_clip.reports.text import to_text

        bar: Any = trainer.progress_bar_callback
        if is_kind(bar, "RichProgressBar"):
            bar.teardown(trainer, pl_module, "fit")  # its last lines come first; Lightning calls this once more
        for observer in observers(trainer):
            if not observer.history:
                continue
            report, console = render_report(observer.history, observer.run), get_console()
            text = encodable(to_text(report, width=console.width), getattr(console.file, "encoding", None))
            if bar is None or not _can_print(bar):
                sys.stdout.write(text + "\n")
            else:
                bar.print(report if is_kind(bar, "RichProgressBar") else text)


def _can_print(bar: Any) -> bool:
    """Whether the bar's `print` shows anything: Lightning's bars are silent while they are disabled or closed."""
    if is_kind(bar, "RichProgressBar"):
        return bool(bar.is_enabled and bar.progress is not None)
    if is_kind(bar, "TQDMProgressBar"):
        stages = ("train", "val", "test", "predict")
        bars = [getattr(bar, f"_{stage}_progress_bar", None) for stage in stages]
        return any(one is not None and not one.disable for one in bars)
    return True
