"""`GradientMonitor`: records gradients without clipping them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from typing_extensions import override

from lightning_clip._errors import reason_of
from lightning_clip.callbacks._gradient_observer import GradientObserver
from lightning_clip.callbacks._metrics import GroupBy
from lightning_clip.callbacks.step.context import StepContext
from lightning_clip.sinks.sink import Sink
from lightning_clip.strategies.no_clip import NoClip


class GradientMonitor(GradientObserver):
    """Record gradients before each optimizer step; every update stays the same, bit for bit.

    Keeps the same record and logs the same metrics as `GradientClipping`. Beside `Trainer(gradient_clip_val=…)`, or a
    module with a `configure_gradient_clipping` of its own, it records the norms before and after that clipping. If it
    cannot measure a step, it warns once
    and stands aside for the rest of the run.

    Args:
        sinks: The destinations of the record besides the history, for instance `JsonlSink("run.jsonl")`.
        flush_every_n_steps: The number of optimizer steps that may stay on the device before they are read together.
        group_by: The parameter groups whose norms are logged: `"none"`, one per `"module"`, one per `"param"`, a
            mapping from group name to globs, or `"rnn"`. The latter logs `grad_norm/input-hidden`,
            `grad_norm/hidden-hidden`, `grad_norm/bias` and the gates of LSTM and GRU layers (`grad_norm/gate_forget`),
            and the same per recurrent layer if there are several (`grad_norm/hidden-hidden_l0`,
            `grad_norm/gate_forget_l1_reverse`).
        name: A name that distinguishes several instances in one trainer; the keys of its metrics begin with it, as in
            `name/grad_norm/total`.

    Raises:
        ArgumentError: An argument is out of range.
        MisconfigurationException: At fit, if the parallel strategy hides the gradients.

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
        self._stands_aside = False

    @override
    def act(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        with self._watching(trainer) as can_measure:
            if can_measure:
                super().act(trainer, pl_module, context)

    @override
    def take_note(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        with self._watching(trainer) as can_measure:
            if can_measure:
                super().take_note(trainer, pl_module, context)

    @contextmanager
    def _watching(self, trainer: Trainer) -> Iterator[bool]:
        """Turn what goes wrong into one warning, after which this callback measures no more."""
        try:
            yield not self._stands_aside
        except Exception as error:
            self._stands_aside = True
            rank_zero_warn(
                f"GradientMonitor cannot measure step {trainer.global_step} and stands aside: {reason_of(error)}"
            )

    @override
    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super()._reset(trainer, pl_module)
        self._stands_aside = False
