"""`StrategySwitcher`: change the clipping strategy while the run goes on."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from typing_extensions import override

from lightning_clip._checks import check_count, check_fraction, check_positive
from lightning_clip._compat import should_log
from lightning_clip._errors import ArgumentError
from lightning_clip.callbacks._gradient_observer import GradientObserver, observers
from lightning_clip.callbacks._metrics import publish
from lightning_clip.callbacks._rung_state import RungState, SwitchPolicy
from lightning_clip.callbacks._step_context import StepContext
from lightning_clip.callbacks.gradient_clipping import GradientClipping
from lightning_clip.core.momentum import reset_momentum_
from lightning_clip.core.record.run_info import Event
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.core.switching import Ladder, SpikeDetector


class StrategySwitcher(Callback):
    """Climb to a tighter clipping strategy when steps turn bad, and return when they have been calm.

    Rung 0 is the strategy of the trainer's `GradientClipping`; `rungs` are the ones above. At each step a detector
    compares the norm before clipping with the norms before it, and a ladder decides. A climb acts on the very step that
    causes it; a descent blends from the tighter strategy to the looser one, and waits while the tighter one has to hold
    back every step. Strategies that are not active go on
    deciding without effect, so that each starts warm. Each optimizer climbs by itself.

    Every change is an event in the record, a line in the report, and the number `clip/rung` (0-based) in the logger.
    The decision needs the norm on the host: an accelerator is read once every `every_n_steps` steps.

    Args:
        rungs: The strategies above the base, from loose to tight; or by the optimizer step from which they are used.
        detector: Tells bad steps.
        ladder: Decides when to climb and when to descend.
        every_n_steps: How many optimizer steps are judged together; above 1 a climb comes up to so many steps late.
        blend_steps: Optimizer steps over which a descent is spread.
        max_jump: A descent waits while the active strategy makes the typical gradient smaller than by this factor:
            calm that clipping has to enforce at every step is no reason to end it.
        max_skipped_fraction: Share of skipped steps in the last 1,000 above which the highest rung in use is given up.
        reset_momentum: Also forget the optimizer's momentum at each climb: it holds the bad steps that led to it.
        dry_run: Record what would be done, and do nothing.

    Raises:
        ValueError: An argument is out of its range.
        MisconfigurationException: At fit, without a `GradientClipping` callback.

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
        check_positive("StrategySwitcher", max_jump=max_jump)
        check_fraction("StrategySwitcher", max_skipped_fraction=max_skipped_fraction)
        self.rungs = {0: list(rungs)} if not isinstance(rungs, Mapping) else {at: list(r) for at, r in rungs.items()}
        if 0 not in self.rungs or not all(self.rungs.values()):
            raise ArgumentError(f"StrategySwitcher(rungs={rungs!r}): rungs must hold a strategy, from step 0 on.")
        self.detector = detector or SpikeDetector()
        self.ladder = ladder or Ladder()
        self.every_n_steps = every_n_steps
        self.blend_steps = blend_steps
        self.max_jump = max_jump
        self.max_skipped_fraction = max_skipped_fraction
        self.reset_momentum = reset_momentum
        self.dry_run = dry_run
        self._states: dict[int, RungState] = {}
        self._restored: dict[int, dict[str, Any]] = {}
        self._clipping: GradientClipping | None = None

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        clipping = [observer for observer in observers(trainer) if isinstance(observer, GradientClipping)]
        if not clipping:
            raise MisconfigurationException(
                "StrategySwitcher needs a GradientClipping callback whose strategy it can change. "
                "Add GradientClipping(NoClip()) to the callbacks."
            )
        self._clipping = clipping[0]

    def choose_strategy(self, observer: GradientObserver, trainer: Trainer, context: StepContext, index: int) -> None:
        """Judge the step that is about to be made, and choose the strategy that will act on it.

        Args:
            observer: The callback whose strategy is about to decide; others than the clipping callback are left alone.
            trainer: The trainer that is fitting.
            context: The step.
            index: The optimizer's position in `trainer.optimizers`.
        """
        clipping = self._clipping
        if clipping is None or observer is not clipping:
            return
        state = self._states.get(index) or self._build(index, clipping)
        step = trainer.global_step
        state.waiting.append(context.original.total_norm())
        if len(state.waiting) >= self.every_n_steps:
            norms, state.waiting = torch.stack(state.waiting).tolist(), []
            for event in state.judge(norms, step, clipping):
                clipping.add_event(event)
                if self.reset_momentum and not self.dry_run and _is_climb(event):
                    reset_momentum_(trainer.optimizers[index])
        state.keep_warm(context.current)
        if not self.dry_run:
            clipping.override_strategy(index, state.strategy)

    def _build(self, index: int, clipping: GradientClipping) -> RungState:
        policy = SwitchPolicy(
            self.rungs,
            self.detector,
            self.ladder,
            self.blend_steps,
            self.max_jump,
            self.max_skipped_fraction,
            self.dry_run,
        )
        state = RungState(policy, index, clipping.strategies[index])
        saved = self._restored.pop(index, None)
        if saved is not None and not state.load_state_dict(saved):
            rank_zero_warn("StrategySwitcher: the checkpoint was made with other rungs; this run starts on rung 0.")
        self._states[index] = state
        return state

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if should_log(trainer):
            rungs = {f"clip/rung{f'-{i}' if i else ''}": float(state.rung) for i, state in self._states.items()}
            publish(trainer, rungs)

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
        """Climb a rung for a reason that the detector does not know, with every optimizer.

        Args:
            step: The number of optimizer steps completed.
            reason: Why, for people.
        """
        for state in self._states.values():
            event = state.climb(step, reason)
            if event is not None and self._clipping is not None:
                self._clipping.add_event(event)

    @property
    def rung(self) -> int:
        """The present rung of the first optimizer, 0-based."""
        return self._states[0].rung if self._states else 0

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"version": 1, "towers": {index: state.state_dict() for index, state in self._states.items()}}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = dict(state_dict["towers"])


def _is_climb(event: Event) -> bool:
    return event.kind == "switch" and event.data["to_rung"] > event.data["from_rung"]
