"""`Landmarks`: the steps of a run that a diagnosis needs however long ago they were."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lightning_clip.core.record.columns import packed_records, unpacked_records
from lightning_clip.core.record.step_record import StepRecord

OPENING = 64
"""The number of first steps."""

LEAD_UP = 50
"""The number of steps before the first one whose norm is NaN or infinite."""


class Landmarks:
    """The first steps of one optimizer, the first that was NaN or infinite, and the steps that led up to it.

    Attributes:
        opening: The first steps.
        lead_up: The latest steps with a finite gradient above 0 before `first_bad`, or so far if there is none.
        first_bad: The first step whose norm is NaN or infinite; `None` if there is none.
        from_start: Whether the steps were counted from the beginning of the run. A checkpoint of an earlier version may
            not have the first ones anymore.
    """

    def __init__(self) -> None:
        self.opening: list[StepRecord] = []
        self.lead_up: deque[StepRecord] = deque(maxlen=LEAD_UP)
        self.first_bad: StepRecord | None = None
        self.from_start = True

    def add(
        self, columns: Mapping[str, Sequence[Any]], records_at: Callable[[Sequence[int]], list[StepRecord]]
    ) -> None:
        """Look at further steps.

        Args:
            columns: `"norm_before"` and `"finite"` of the steps, each `(n,)`, of one optimizer and in order.
            records_at: Returns the records of some of them, without parameter norms.
        """
        steps = len(columns["finite"])
        self.opening += records_at(range(min(steps, OPENING - len(self.opening))))
        if self.first_bad is not None:
            return
        finite = np.asarray(columns["finite"], bool)
        end = steps if finite.all() else int(np.argmin(finite))
        samples = np.flatnonzero(np.asarray(columns["norm_before"], float)[:end] > 0)[-LEAD_UP:]
        self.lead_up.extend(records_at(samples.tolist()))
        self.first_bad = next(iter(records_at(range(end, min(end + 1, steps)))), None)

    def bad_at(self, step: int | None) -> StepRecord | None:
        """Return `first_bad` if it was this step; a checkpoint of an earlier version may not have the first one.

        Args:
            step: The first step of the run that is known to have been NaN or infinite, if there was one.
        """
        return self.first_bad if self.first_bad is not None and self.first_bad.step == step else None

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers, strings, lists and tensors."""
        bad = [] if self.first_bad is None else [self.first_bad]
        return {
            "records": packed_records([*self.opening, *self.lead_up, *bad]),
            "opening": len(self.opening),
            "lead_up": len(self.lead_up),
            "from_start": self.from_start,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        records, opening, end = (
            unpacked_records(state["records"]),
            state["opening"],
            state["opening"] + state["lead_up"],
        )
        self.opening = records[:opening]
        self.lead_up = deque(records[opening:end], maxlen=LEAD_UP)
        self.first_bad = records[end] if end < len(records) else None
        self.from_start = state["from_start"]
