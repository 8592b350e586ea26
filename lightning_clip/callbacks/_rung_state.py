"""`RungState`: the rungs of one optimizer and the current position on them; `StrategySwitcher` keeps one each."""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lightning_clip.callbacks._gradient_observer import GradientObserver
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.record.aggregate import Aggregate
from lightning_clip.core.record.run_info import Event
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.core.strategy_names import is_same_strategy
from lightning_clip.core.switching import Ladder, Move, Reading, SpikeDetector
from lightning_clip.strategies.blend import Blend

_SKIP_WINDOW = 1_000


class SwitchPolicy(Protocol):
    """The settings of a `StrategySwitcher` that its rung states read; see the arguments of that class."""

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
        policy: The settings, which are those of the switcher.
        index: The optimizer's position in `trainer.optimizers`.
        base: The clipping callback's own strategy, which is rung 0.

    Attributes:
        waiting: The norms that have not been judged yet, each `()`.
        own_step: The number of steps that the optimizer had completed when the latest norm was added.
    """

    def __init__(self, policy: SwitchPolicy, index: int, base: ClipStrategy) -> None:
        self.policy = policy
        self.index = index
        self.detector = deepcopy(policy.detector)
        self.ladder = deepcopy(policy.ladder)
        self.rungs = {at: [base, *deepcopy(rungs)] for at, rungs in sorted(policy.rungs.items())}
        self.waiting: list[Tensor] = []
        self.own_step = 0
        self._active = base
        self._blend = Blend(base, base)
        self._blend_left = 0
        self._top = max(len(rungs) for rungs in self.rungs.values()) - 1
        self._steps_before = self._skips_before = 0

    @property
    def rung(self) -> int:
        """The current rung, 0-based."""
        return self.ladder.rung

    @property
    def strategy(self) -> ClipStrategy:
        """The strategy in force."""
        return self._blend if self._blend_left else self._active

    def add(self, norm: Tensor, own_step: int) -> None:
        """Keep the norm of the step that is about to be made until it is judged.

        Args:
            norm: The total norm before clipping, `()`.
            own_step: The number of steps that this optimizer has completed, which decides between the sets of rungs.
        """
        self.waiting.append(norm)
        self.own_step = own_step

    def judge(self, norms: Sequence[float], step: int, clipping: GradientObserver) -> list[Event]:
        """Judge the norms of further steps and change the rung if necessary.

        A step without a gradient is neither calm nor bad: it is not judged.

        Args:
            norms: The total norms before clipping, in order; the last one belongs to `step`.
            step: The step that is about to be made.
            clipping: The callback whose record says how many steps were clipped and skipped so far.

        Returns:
            One event for each change of rung and for a disabled rung.
        """
        rungs = self._rungs()
        self._blend_left = max(0, self._blend_left - sum(0 < norm < math.inf for norm in norms))
        events = self._disable_skipping_rung(step, clipping.total(self.index))
        for norm in (norm for norm in norms if norm != 0):
            reading = self.detector.read(norm)
            top = min(self._top, len(rungs) - 1)
            move = self.ladder.step(reading.weight, top=top, may_descend=lambda: self._clips_little(clipping))
            if move is not None:
                events.append(self._change(move, reading, rungs, step))
        self._active = rungs[min(self.rung, len(rungs) - 1)]
        return events

    def _rungs(self) -> list[ClipStrategy]:
        return next(rungs for at, rungs in reversed(self.rungs.items()) if at <= self.own_step)

    def _change(self, move: Move, reading: Reading, rungs: Sequence[ClipStrategy], step: int) -> Event:
        before, after = rungs[min(move.start, len(rungs) - 1)], rungs[move.end]
        self._blend = Blend(before, after, steps=self.policy.blend_steps)
        self._blend_left = self.policy.blend_steps if move.end < move.start else 0
        self._active = after
        return self._switch_event(move, reading, before, after, step)

    def climb(self, step: int, reason: str) -> Event | None:
        """Climb one rung immediately, if there is a rung above.

        Args:
            step: The number of optimizer steps completed.
            reason: The reason, for people to read.

        Returns:
            The event of the climb; `None` on the highest rung.
        """
        rungs = self._rungs()
        if self.rung >= min(self._top, len(rungs) - 1):
            return None
        return self._change(self.ladder.climb(reason), Reading(0.0, math.nan, math.nan, math.nan), rungs, step)

    @torch.no_grad()
    def keep_warm(self, grads: Gradients) -> None:
        """Let the inactive strategies decide without effect, so that their state is up to date when they take over.

        Args:
            grads: The gradients of this step.
        """
        acting = [self._blend.start, self._blend.end] if self._blend_left else [self._active]
        for strategy in self._strategies():
            if not any(strategy is one for one in acting):
                strategy.decide(grads)

    def _clips_little(self, clipping: GradientObserver) -> bool:
        """Return whether clipping reduced the typical gradient of the calm steps by a factor of at most `max_jump`."""
        records = reversed(clipping.history.records)
        own = (record.clip_coef for record in records if record.optimizer == self.index and record.is_sample)
        coefs = list(islice(own, self.ladder.calm))
        return not coefs or float(np.median(coefs)) * self.policy.max_jump >= 1.0

    def _strategies(self) -> list[ClipStrategy]:
        unique = {id(strategy): strategy for rungs in self.rungs.values() for strategy in rungs}
        return list(unique.values())

    def _switch_event(
        self, move: Move, reading: Reading, before: ClipStrategy, after: ClipStrategy, step: int
    ) -> Event:
        ratio = f", {_in_words(reading.norm / reading.median)} times the median" if reading.median > 0 else ""
        would = "would switch " if self.policy.dry_run else ""
        norm = f", norm {_in_words(reading.norm)}{ratio}" if not math.isnan(reading.norm) else ""
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

    def _disable_skipping_rung(self, step: int, total: Aggregate | None) -> list[Event]:
        """Disable the current rung if it skips too many steps: a run that only skips learns nothing."""
        if total is None or total.steps - self._steps_before < _SKIP_WINDOW:
            return []
        fraction = (total.skipped - self._skips_before) / (total.steps - self._steps_before)
        self._steps_before, self._skips_before = total.steps, total.skipped
        if fraction <= self.policy.max_skipped_fraction or self.rung == 0:
            return []
        self._top = self.rung - 1
        message = f"rung {self.rung} disabled: {fraction:.1%} of the last steps were skipped"
        return [Event(step, "cap", message, {"optimizer": self.index, "top": self._top})]

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers, lists and the tensors of the rungs."""
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
            Whether the rungs are the same; if not, nothing is restored.
        """
        strategies = self._strategies()
        names = [repr(strategy) for strategy in strategies]
        if len(names) != len(state["names"]) or not all(map(is_same_strategy, state["names"], names)):
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


_PLAIN = ("_blend_left", "_top", "_steps_before", "_skips_before")  # attributes, and keys in checkpoints


def _in_words(value: float) -> str:
    """A number with three significant digits: `17,200`; the formats of reports would be imported by every training."""
    return f"{float(f'{value:.3g}'):,.10g}"
