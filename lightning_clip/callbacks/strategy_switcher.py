"""`StrategySwitcher`: changes the clipping strategy during training."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from typing_extensions import override

from lightning_clip._checks import (
    check_count,
    check_each,
    check_flag,
    check_fraction,
    check_instance,
    check_positive,
    check_rule,
)
from lightning_clip._errors import ArgumentError
from lightning_clip.callbacks._gradient_observer import GradientObserver, observers
from lightning_clip.callbacks._metrics_callback import MetricsCallback
from lightning_clip.callbacks._rung_state import RungState
from lightning_clip.callbacks.gradient_clipping import GradientClipping
from lightning_clip.callbacks.step.context import StepContext
from lightning_clip.core.optimizer_state import reset_momentum_
from lightning_clip.core.record.run_info import Event
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.core.switching import Ladder, SpikeDetector


class StrategySwitcher(MetricsCallback):
    """Switch to a tighter clipping strategy when steps turn bad, and back after enough calm steps.

    Rung 0 is the strategy of the trainer's `GradientClipping`; `rungs` are the strategies above it. At each step, a
    detector compares the norm before clipping with the earlier norms, and a ladder decides whether to move. A climb
    takes effect at the very step that causes it. A descent blends from the tighter strategy to the looser one, and is
    postponed while the tighter one still clips typical steps strongly. Inactive strategies keep deciding without
    effect, so each is warm when it takes over. Each optimizer has its own rung.

    Every change is recorded as an event, shown in the report, and logged as `clip/rung` (0-based). The decision needs
    the norm on the host, so an accelerator is read once every `every_n_steps` steps.

    Args:
        rungs: The strategies above the base, from loose to tight; or a mapping from an optimizer step to the strategies
            in use from that step on.
        detector: The detector that judges how bad a step is.
        ladder: The ladder that decides when to climb and when to descend.
        every_n_steps: The number of optimizer steps judged together; above 1, a climb comes up to that many steps late.
        blend_steps: The number of optimizer steps over which a descent is spread.
        max_jump: The largest factor by which a descent may enlarge the typical gradient. A descent waits while clipping
            reduces the typical gradient by more than this, because then only the clipping keeps the steps calm.
        max_skipped_fraction: The fraction of skipped steps in the last 1,000 above which the current rung is disabled.
        reset_momentum: Whether to reset the optimizer's momentum at each climb, since it contains the bad steps.
        dry_run: Whether to only record what would be switched, without switching.

    Raises:
        ArgumentError: An argument is out of range.
        MisconfigurationException: At fit, if the trainer has no `GradientClipping` callback.

    Example:
        >>> from lightning_clip import GradientClipping, NoClip, NormClip, RobustClip
        >>> callbacks = [GradientClipping(NoClip()), StrategySwitcher([RobustClip(), NormClip(1.0)])]
    """

    def __init__(
        self,
        rungs: Sequence[ClipStrategy] | Mapping[int, Sequence[ClipStrategy]],
        *,
        detector: SpikeDetector | None = None,
        ladder: Ladder | None = None,
        every_n_steps: int = 1,
        blend_steps: int = 10,
        max_jump: float = 2.0,
        max_skipped_fraction: float = 0.01,
        reset_momentum: bool = True,
        dry_run: bool = False,
    ) -> None:
        super().__init__()
        check_count("StrategySwitcher", every_n_steps=every_n_steps, blend_steps=blend_steps)
        check_flag("StrategySwitcher", reset_momentum=reset_momentum, dry_run=dry_run)
        check_positive("StrategySwitcher", max_jump=max_jump)
        check_fraction("StrategySwitcher", max_skipped_fraction=max_skipped_fraction)
        check_instance("StrategySwitcher", SpikeDetector, or_none=True, detector=detector)
        check_instance("StrategySwitcher", Ladder, or_none=True, ladder=ladder)
        by_step = rungs if isinstance(rungs, Mapping) else {0: rungs}
        for at, own in by_step.items():
            is_step = isinstance(at, int) and not isinstance(at, bool) and at >= 0
            rule = f"rungs begin at a whole number of steps, not {at!r}"
            check_rule(f"StrategySwitcher(rungs={rungs!r})", rule, holds=is_step)
            check_each("StrategySwitcher", ClipStrategy, rungs=own)
        self.rungs: Mapping[int, Sequence[ClipStrategy]] = {at: list(own) for at, own in by_step.items()}
        if 0 not in self.rungs or not all(self.rungs.values()):
            raise ArgumentError(
                f"StrategySwitcher(rungs={rungs!r}): rungs must contain at least one strategy from step 0 on."
            )
        self.detector = detector or SpikeDetector()
        self.ladder = ladder or Ladder()
        self.every_n_steps = every_n_steps
        self.blend_steps = blend_steps
        self.max_jump = max_jump
        self.max_skipped_fraction = max_skipped_fraction
        self.reset_momentum = reset_momentum
        self.dry_run = dry_run
        self._states: dict[int, RungState] = {}
        self._saved_rungs: dict[int, dict[str, Any]] = {}
        self._clipping: GradientClipping | None = None

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        clipping = [observer for observer in observers(trainer) if isinstance(observer, GradientClipping)]
        if not clipping:
            raise MisconfigurationException(
                "StrategySwitcher needs a GradientClipping callback whose strategy it can change. "
                "Add GradientClipping(NoClip()) to the callbacks."
            )
        self._clipping = clipping[0]

    def choose_strategy(self, observer: GradientObserver, trainer: Trainer, context: StepContext) -> None:
        """Judge the step that is about to be made, and choose the strategy that acts on it.

        Args:
            observer: The callback whose strategy is about to decide; only the clipping callback is affected.
            trainer: The trainer, while it is fitting.
            context: The context of the step, which knows the optimizer.
        """
        clipping, index = self._clipping, context.index
        if clipping is None or observer is not clipping:
            return
        state = self._states.get(index) or self._build(index, clipping)
        state.add(context.original.total_norm(), context.current.own_step)
        if len(state.waiting) >= self.every_n_steps:
            norms, state.waiting = torch.stack(state.waiting).tolist(), []
            for event in state.judge(norms, trainer.global_step, clipping):
                clipping.add_event(event)
                if self.reset_momentum and not self.dry_run and _is_climb(event):
                    reset_momentum_(context.optimizer)
        state.keep_warm(context.current)
        if not self.dry_run:
            clipping.override_strategy(index, state.strategy)

    def _build(self, index: int, clipping: GradientClipping) -> RungState:
        state = RungState(self, index, clipping.strategies[index])
        saved = self._saved_rungs.pop(index, None)
        if saved is not None and not state.load_state_dict(saved):
            rank_zero_warn("StrategySwitcher: the checkpoint was saved with other rungs; this run starts on rung 0.")
        self._states[index] = state
        return state

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._publish_if_due(trainer)

    @override
    def _metrics(self, trainer: Trainer) -> dict[str, float]:
        prefix = self._clipping.key_prefix(trainer) if self._clipping is not None else ""
        return {f"{prefix}clip/rung{f'-{i}' if i else ''}": float(state.rung) for i, state in self._states.items()}

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._detach()

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._detach()

    def _detach(self) -> None:
        if self._clipping is not None:
            for index in self._states:
                self._clipping.override_strategy(index, None)
            self._clipping = None

    def climb(self, step: int, reason: str) -> None:
        """Climb one rung for every optimizer, for a reason that the detector cannot see.

        Args:
            step: The number of optimizer steps completed.
            reason: The reason, for people to read.
        """
        for state in self._states.values():
            event = state.climb(step, reason)
            if event is not None and self._clipping is not None:
                self._clipping.add_event(event)

    @property
    def rung(self) -> int:
        """The current rung of the first optimizer, 0-based."""
        return self._states[0].rung if self._states else 0

    @override
    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._states, self._saved_rungs = {}, {}

    @override
    def _save(self) -> dict[str, Any]:
        rungs = {index: state.state_dict() for index, state in self._states.items()}
        return {"towers": {**self._saved_rungs, **rungs}}  # the key that old checkpoints use

    @override
    def _load(self, state: dict[str, Any]) -> None:
        self._saved_rungs = dict(state["towers"])


def _is_climb(event: Event) -> bool:
    return event.kind == "switch" and event.data["to_rung"] > event.data["from_rung"]
