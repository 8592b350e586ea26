"""`Ladder`: climbs quickly when steps are bad and descends slowly when they are calm."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lightning_clip._checks import check_count, check_decay, check_each, check_rule


@dataclass(frozen=True, slots=True)
class Move:
    """A change of rung.

    Attributes:
        start: The rung before the move, 0-based.
        end: The rung after the move, 0-based.
        reason: The reason, for display.
    """

    start: int
    end: int
    reason: str


@dataclass(slots=True)
class LadderState:
    """The state of a ladder, as plain numbers.

    Attributes:
        rung: The current rung, 0-based.
        score: Sum of the weights of past events, each decaying over time.
        calm: Steps since the latest event.
        needed: Calm steps that the next descent needs.
        since_move: Steps since the latest move.
        climbs: How many times the ladder has climbed.
        has_descended: Whether the latest move was a descent.
        events: Events since the latest move.
        event_steps: Steps since the first of these events.
    """

    rung: int = 0
    score: float = 0.0
    calm: int = 0
    needed: int = 0
    since_move: int = 1 << 30
    climbs: int = 0
    has_descended: bool = False
    events: int = 0
    event_steps: int = 0


class Ladder:
    """Adds up bad steps in a decaying score, climbs a rung when the score is high, and descends after a calm period.

    Three things keep it from oscillating. Climbing depends on the score, but descending on the number of calm steps.
    The ladder stays on each rung for some steps. And each climb after the first doubles the calm period that a descent
    needs. After a descent that fails at once, the next one waits for the longest period.

    Args:
        climb_at: The score that each climb needs; the last value applies to all higher rungs.
        leak: The fraction of the score that remains after a step without an event, in [0, 1).
        dwell: Steps to stay on a rung before the next move; a climb right after a descent does not wait.
        calm: Steps without an event that a descent needs.
        max_calm: The largest number of calm steps that doubling can reach.

    Raises:
        ArgumentError: An argument is out of range.

    Example:
        >>> ladder = Ladder()
        >>> ladder.step(3.0, top=2)
        Move(start=0, end=1, reason='1 spike')
        >>> [ladder.step(0.0, top=2) for _ in range(100)][-1]
        Move(start=1, end=0, reason='100 calm steps')
    """

    def __init__(
        self,
        *,
        climb_at: Sequence[float] = (2.0, 6.0, 12.0),
        leak: float = 0.98,
        dwell: int = 10,
        calm: int = 100,
        max_calm: int = 3200,
    ) -> None:
        check_decay("Ladder", leak=leak)
        check_count("Ladder", dwell=dwell, calm=calm, max_calm=max_calm)
        check_each("Ladder", int | float, at_least=1, climb_at=climb_at)
        call = f"Ladder(climb_at={climb_at!r})"
        check_rule(call, "each score must be a positive number", holds=all(score > 0 for score in climb_at))
        self.climb_at = tuple(climb_at)
        self.leak = leak
        self.dwell = dwell
        self.calm = calm
        self.max_calm = max_calm
        self.state = LadderState(needed=calm)

    @property
    def rung(self) -> int:
        """The current rung, 0-based."""
        return self.state.rung

    def step(self, weight: float, *, top: int, may_descend: Callable[[], bool] = lambda: True) -> Move | None:
        """Record one step.

        Args:
            weight: How bad the step was; 0 for a calm one.
            top: The highest rung that the ladder may climb to.
            may_descend: Called when a descent is due. If it returns `False`, the count of calm steps starts over.

        Returns:
            The move, or `None` if the ladder stays on its rung.
        """
        state = self.state
        state.since_move += 1
        state.score = self.leak * state.score + weight
        state.calm = 0 if weight > 0 else state.calm + 1
        state.events += weight > 0
        state.event_steps += state.events > 0
        has_dwelt = state.since_move >= self.dwell
        if state.rung > top:
            return self._move(-1, "the rung is no longer allowed")
        climb_at = self.climb_at[min(state.rung, len(self.climb_at) - 1)]
        if state.rung < top and state.score >= climb_at and (has_dwelt or state.has_descended):
            return self._climb()
        if state.rung > 0 and state.calm >= state.needed and has_dwelt:
            if may_descend():
                return self._descend()
            state.calm = 0
        return None

    def climb(self, reason: str) -> Move:
        """Climb one rung, whatever the score.

        Args:
            reason: The reason, for display.

        Returns:
            The move.
        """
        return self._move(1, reason)

    def _climb(self) -> Move:
        state = self.state
        spikes = "spike" if state.events == 1 else "spikes"
        reason = f"{state.events} {spikes} in {state.event_steps} steps" if state.event_steps > 1 else "1 spike"
        state.climbs += 1
        if state.has_descended and state.since_move < self.calm:
            state.needed = self.max_calm  # the lower rung failed at once, so stay up for long
        elif state.climbs > 1:
            state.needed = min(2 * state.needed, self.max_calm)
        state.score /= 2
        return self._move(1, reason)

    def _descend(self) -> Move:
        state = self.state
        move = self._move(-1, f"{state.calm} calm steps")
        state.calm = 0
        if state.rung == 0:
            state.needed = max(self.calm, state.needed // 2)
        return move

    def _move(self, by: int, reason: str) -> Move:
        state = self.state
        move = Move(state.rung, state.rung + by, reason)
        state.rung += by
        state.has_descended = by < 0
        state.since_move = state.events = state.event_steps = 0
        return move

    def state_dict(self) -> dict[str, Any]:
        """The state as plain numbers."""
        return asdict(self.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`."""
        self.state = LadderState(**state)
