"""`GradientMonitor`: the record of the gradients, without clipping."""

from collections.abc import Sequence

from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from lightning_clip.callbacks._gradient_observer import GradientObserver
from lightning_clip.callbacks._metrics import GroupBy
from lightning_clip.callbacks._trainer import check_trainer_does_not_clip
from lightning_clip.sinks.sink import Sink
from lightning_clip.strategies.no_clip import NoClip


class GradientMonitor(GradientObserver):
    """Watch gradients before each optimizer step; no update changes by a bit.

    Keeps the same record and logs the same metrics as `GradientClipping`.

    Args:
        sinks: Where the record of each step goes besides the history, for instance `JsonlSink("run.jsonl")`.
        flush_every_n_steps: How many optimizer steps may wait on the device before they are read together.
        group_by: Which norms of groups of parameters to log: `"none"`, by `"module"`, by `"param"`, globs by group
            name, or `"rnn"`: `grad_norm/input-hidden`, `grad_norm/hidden-hidden`, `grad_norm/bias` and the gates of
            LSTM and GRU layers (`grad_norm/gate_forget`), and the same of each recurrent layer where there are several
            (`grad_norm/hidden-hidden_l0`, `grad_norm/gate_forget_l1_reverse`).
        name: Tells two instances in one trainer apart.

    Raises:
        ValueError: An argument is out of its range.
        MisconfigurationException: At fit, if the trainer clips, unseen by any callback.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[GradientMonitor()], logger=False, accelerator="cpu")
    """

    def __init__(
        self,
        *,
        sinks: Sequence[Sink] | None = None,
        flush_every_n_steps: int = 50,
        group_by: GroupBy = "none",
        name: str = "",
    ) -> None:
        super().__init__(NoClip(), sinks, flush_every_n_steps, group_by, name)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        check_trainer_does_not_clip(trainer, "GradientMonitor()")
