"""`RungState`: the rungs of one optimizer, and where it stands on them."""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_clip.callbacks._gradient_observer import GradientObserver
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.record.aggregate import Aggregate
from lightning_clip.core.record.run_info import Event
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.core.switching import Ladder, Move, Reading, SpikeDetector
from lightning_clip.strategies.blend import Blend

_SKIP_WINDOW = 1_000


@dataclass(frozen=True)
class SwitchPolicy:
    """How every tower of a switcher climbs and descends; see the arguments of `StrategySwitcher`.

    Attributes:
        rungs: The strategies above the base, by the step from which they are used.
        detector: Tells bad steps.
        ladder: Decides when to climb and when to descend.
        blend_steps: Optimizer steps over which a descent is spread.
        max_jump: The most that a descent may enlarge the typical gradient.
        max_skipped_fraction: Share of skipped steps above which the present rung is given up.
        dry_run: Whether changes are told and not made.
    """

    rungs: Mapping[int, Sequence[ClipStrategy]]
    detector: SpikeDetector
    ladder: Ladder
    blend_steps: int
    max_jump: float
    max_skipped_fraction: float
    dry_run: bool


class RungState:
    """A detector, a ladder and a copy of each rung, for one optimizer.

    Args:
        policy: How it climbs and descends.
        index: The optimizer's position in `trainer.optimizers`.
        base: Rung 0, the clipping callback's own strategy.

    Attributes:
        waiting: Norms that have not been judged yet, each `()`.
    """

    def __init__(self, policy: SwitchPolicy, index: int, base: ClipStrategy) -> None:
        self.policy = policy
        self.index = index
        self.detector = deepcopy(policy.detector)
        self.ladder = deepcopy(policy.ladder)
        self.rungs = {at: [base, *deepcopy(rungs)] for at, rungs in sorted(policy.rungs.items())}
        self.waiting: list[Tensor] = []
        self._active = base
        self._blend = Blend(base, base)
        self._blend_left = 0
        self._top = max(len(rungs) for rungs in self.rungs.values()) - 1
        self._steps_before = self._skips_before = 0

    @property
    def rung(self) -> int:
        """The present rung, 0-based."""
        return self.ladder.rung

    @property
    def strategy(self) -> ClipStrategy:
        """The strategy that acts now."""
        return self._blend if self._blend_left else self._active

    def judge(self, norms: Sequence[float], step: int, clipping: GradientObserver) -> list[Event]:
        """Take in the norms of further steps and move accordingly.

        Args:
            norms: Total norms before clipping, in order; the last one is of `step`.
            step: The step that is about to be made.
            clipping: Whose record says what was clipped and skipped so far.

        Returns:
            An event for each change of rung, and for a rung that is given up.
        """
        rungs = self._rungs_at(step)
        self._blend_left = max(0, self._blend_left - len(norms))
        events = self._give_up_skipping(step, clipping.total(self.index))
        for norm in norms:
            reading = self.detector.read(norm)
            top = min(self._top, len(rungs) - 1)
            move = self.ladder.step(reading.weight, top=top, may_descend=lambda: self._is_held_back_little(clipping))
            if move is None:
                continue
            events.append(self._change(move, reading, rungs, step))
        self._active = rungs[min(self.rung, len(rungs) - 1)]
        return events

    def _rungs_at(self, step: int) -> list[ClipStrategy]:
        return next(rungs for at, rungs in reversed(self.rungs.items()) if at <= step)

    def _change(self, move: Move, reading: Reading, rungs: Sequence[ClipStrategy], step: int) -> Event:
        before, after = rungs[min(move.start, len(rungs) - 1)], rungs[move.end]
        self._blend = Blend(before, after, steps=self.policy.blend_steps)
        self._blend_left = self.policy.blend_steps if move.end < move.start else 0
        self._active = after
        return self._switch_event(move, reading, before, after, step)

    def climb(self, step: int, reason: str) -> Event | None:
        """Climb a rung at once, where there is one above.

        Args:
            step: The number of optimizer steps completed.
            reason: Why, for people.

        Returns:
            The event of it.
        """
        rungs = self._rungs_at(step)
        if self.rung >= min(self._top, len(rungs) - 1):
            return None
        return self._change(self.ladder.climb(reason), Reading(0.0, math.nan, math.nan, math.nan), rungs, step)

    @torch.no_grad()
    def keep_warm(self, grads: Gradients) -> None:
        """Let the strategies that do not act decide without effect, so that they know the run when their turn comes.

        Args:
            grads: The gradients of this step.
        """
        acting = [self._blend.start, self._blend.end] if self._blend_left else [self._active]
        for strategy in self._strategies():
            if not any(strategy is one for one in acting):
                strategy.decide(grads)

    def _is_held_back_little(self, clipping: GradientObserver) -> bool:
        """Whether the typical gradient of the calm time was made smaller by no more than `max_jump`."""
        own = (record.clip_coef for record in reversed(clipping.history.records) if record.optimizer == self.index)
        return float(np.median(list(islice(own, self.ladder.calm)))) * self.policy.max_jump >= 1.0

    def _strategies(self) -> list[ClipStrategy]:
        unique = {id(strategy): strategy for rungs in self.rungs.values() for strategy in rungs}
        return list(unique.values())

    def _switch_event(
        self, move: Move, reading: Reading, before: ClipStrategy, after: ClipStrategy, step: int
    ) -> Event:
        ratio = f" ≈ {reading.norm / reading.median:.3g} × median" if reading.median > 0 else ""
        would = "would switch " if self.policy.dry_run else ""
        norm = f", norm {reading.norm:.3g}{ratio}" if not math.isnan(reading.norm) else ""
        message = f"{would}{before.label} → {after.label}: {move.reason}{norm}"
        data = {
            "optimizer": self.index,
            "from": before.label,
            "to": after.label,
            "from_rung": move.start,
            "to_rung": move.end,
            "reason": move.reason,
            "norm": reading.norm,
            "score": reading.score,
        }
        return Event(step, "switch", message, data)

    def _give_up_skipping(self, step: int, total: Aggregate | None) -> list[Event]:
        """Lower the highest rung where steps are skipped too often: a run that skips on learns nothing."""
        if total is None or total.steps - self._steps_before < _SKIP_WINDOW:
            return []
        share = (total.skipped - self._skips_before) / (total.steps - self._steps_before)
        self._steps_before, self._skips_before = total.steps, total.skipped
        if share <= self.policy.max_skipped_fraction or self.rung == 0:
            return []
        self._top = self.rung - 1
        message = f"rung {self.rung} is given up: {share:.1%} of the last steps were skipped"
        return [Event(step, "cap", message, {"optimizer": self.index, "top": self._top})]

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and the tensors of the rungs."""
        return {
            "names": [repr(strategy) for strategy in self._strategies()],
            "strategies": [dict(strategy.state_dict()) for strategy in self._strategies()],
            "detector": self.detector.state_dict(),
            "ladder": self.ladder.state_dict(),
            "blend": dict(self._blend.state_dict()),
            "blend_from": self._position(self._blend.start),
            "blend_to": self._position(self._blend.end),
            "active": self._position(self._active),
            "waiting": [float(norm) for norm in self.waiting],
            "plain": {name: getattr(self, name) for name in _PLAIN},
        }

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Restore what `state_dict` returned.

        Returns:
            Whether it could be: the rungs are the same.
        """
        strategies = self._strategies()
        if state["names"] != [repr(strategy) for strategy in strategies]:
            return False
        for strategy, saved in zip(strategies, state["strategies"], strict=True):
            strategy.load_state_dict(saved)
        self.detector.load_state_dict(state["detector"])
        self.ladder.load_state_dict(state["ladder"])
        self._blend = Blend(
            strategies[state["blend_from"]], strategies[state["blend_to"]], steps=self.policy.blend_steps
        )
        self._blend.load_state_dict(state["blend"])
        self._active = strategies[state["active"]]
        self.waiting = [torch.tensor(norm) for norm in state["waiting"]]
        for name in _PLAIN:
            setattr(self, name, state["plain"][name])
        return True

    def _position(self, strategy: ClipStrategy) -> int:
        return next(i for i, one in enumerate(self._strategies()) if one is strategy)


_PLAIN = ("_blend_left", "_top", "_steps_before", "_skips_before")
