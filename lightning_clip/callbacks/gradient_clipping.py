"""`GradientClipping`: clips gradients in the training loop."""

from collections.abc import Sequence
from copy import deepcopy

from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from lightning_clip._errors import ArgumentTypeError
from lightning_clip.callbacks._gradient_observer import GradientObserver
from lightning_clip.callbacks._metrics import GroupBy
from lightning_clip.callbacks._trainer import check_trainer_does_not_clip
from lightning_clip.callbacks.step.context import StepContext
from lightning_clip.core.clip import clip_
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.core.strategy_names import strategy_named
from lightning_clip.sinks.sink import Sink
from lightning_clip.strategies.norm_clip import NormClip


class GradientClipping(GradientObserver):
    """Clip gradients before each optimizer step, and record what happened.

    Clips where Lightning's own clipping acts: after every `on_before_optimizer_step`, and before a
    `configure_gradient_clipping` of the module, whose effect is recorded too. Trial steps of Lightning's tuners are
    clipped as well, with a copy of the strategy.

    Works in automatic and manual optimization, with gradient accumulation (clips the accumulated gradient once), mixed
    precision (clips unscaled gradients, even with fused optimizers) and several optimizers (each has its own copy of
    the strategy, which clips only that optimizer's parameters). State and history are saved in the checkpoint.

    Logs at Lightning's own cadence: `grad_norm/total` (before), `grad_norm/total_clipped` (after), `clip/coef`,
    `clip/active`, `clip/threshold`, `clip/skipped_total` and `clip/nonfinite_total`. The keys of a second optimizer end
    in `-1`.

    Args:
        strategy: The clipping strategy; `NormClip(1.0)` by default. A name works too: `"autoclip"`, `"norm(0.5)"`.
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
        ArgumentError: An argument is out of range, or no strategy has the given name.
        ArgumentTypeError: `strategy` is not a strategy.
        MisconfigurationException: At fit, if the trainer clips too, or its parallel strategy hides the gradients.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[GradientClipping(NormClip(0.5))], logger=False, accelerator="cpu")
    """

    def __init__(
        self,
        strategy: ClipStrategy | str | None = None,
        *,
        sinks: Sequence[Sink] | None = None,
        flush_every_n_steps: int = 50,
        group_by: GroupBy = "none",
        name: str = "",
    ) -> None:
        strategy = NormClip() if strategy is None else strategy
        if isinstance(strategy, str):
            strategy = strategy_named("GradientClipping", strategy)
        if not isinstance(strategy, ClipStrategy):
            raise _not_a_strategy(strategy)
        super().__init__(strategy, sinks, flush_every_n_steps, group_by, name)
        self._rehearsing: dict[int, ClipStrategy] = {}

    @override
    def act(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        self._rehearsing = {}
        super().act(trainer, pl_module, context)

    @override
    def rehearse(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        index = context.index
        if index not in self._rehearsing:
            own = self.strategies[index] if index < len(self.strategies) else self.strategy
            self._rehearsing[index] = deepcopy(own)
        clip_(context.current, self._rehearsing[index], optimizer_index=index)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        check_trainer_does_not_clip(trainer, f"GradientClipping({self.strategy!r})")


def _not_a_strategy(given: object) -> ArgumentTypeError:
    example = f"NormClip({given!r})" if isinstance(given, int | float) else "NormClip(1.0)"
    return ArgumentTypeError(f"GradientClipping({given!r}): strategy must be a ClipStrategy, for instance {example}.")
