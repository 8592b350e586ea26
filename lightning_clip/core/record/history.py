"""`History`: the record of a run in bounded memory."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import compress
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lightning_clip.core.record.aggregate import Aggregate
from lightning_clip.core.record.columns import packed_records, unpacked_records
from lightning_clip.core.record.interrupts import interrupts_deferred
from lightning_clip.core.record.landmarks import Landmarks
from lightning_clip.core.record.measurements import Measurements
from lightning_clip.core.record.parameter_totals import ParameterTotals
from lightning_clip.core.record.run_info import Event
from lightning_clip.core.record.step_record import StepRecord

_NORMS_AT_A_TIME = 2**16
_STEPS_AT_A_TIME = 1_000


class History:
    """The latest step records, and exact totals of the whole run.

    The totals are worked out for many steps at a time, or when they are asked for, because a few steps take as long.

    Args:
        window: The number of step records to keep; the totals cover all steps.

    Attributes:
        records: The latest step records; only the very latest has the norms of its parameters.
        events: The latest events: strategy switches, rollbacks, stops.
        measurements: The first and the latest measurements of each kind.

    Example:
        >>> history = History()
        >>> history.extend([StepRecord(0, 0, "NormClip(1.0)", 4.0, 1.0, 1.0, 0.25, True, True, False)])
        >>> len(history), history.aggregates[0].clipped, history.column("norm_before").tolist()
        (1, 1, [4.0])
    """

    def __init__(self, window: int = 10_000) -> None:
        self.records: deque[StepRecord] = deque(maxlen=window)
        self.events: deque[Event] = deque(maxlen=1_000)
        self.measurements = Measurements()
        self._aggregates: dict[int, Aggregate] = {}
        self._landmarks: dict[int, Landmarks] = {}
        self._parameters = ParameterTotals()
        self._uncounted: list[StepRecord] = []

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[StepRecord]:
        return iter(self.records)

    def __getitem__(self, position: int) -> StepRecord:
        return self.records[position]

    @property
    def aggregates(self) -> dict[int, Aggregate]:
        """The totals of the whole run, by optimizer position."""
        self._count()
        return self._aggregates

    @property
    def landmarks(self) -> dict[int, Landmarks]:
        """The first steps and those before the first NaN, by optimizer position."""
        self._count()
        return self._landmarks

    @property
    def parameters(self) -> ParameterTotals:
        """The totals of each parameter over the whole run."""
        self._count()
        return self._parameters

    @parameters.setter
    def parameters(self, totals: ParameterTotals) -> None:
        self._count()
        self._parameters = totals

    def extend(self, records: Sequence[StepRecord]) -> None:
        """Add the records of further steps.

        Args:
            records: The records of one or several optimizers, in order.
        """
        if not records:
            return
        self._uncounted += records
        steps, latest = len(self._uncounted), records[-1]
        if steps >= _STEPS_AT_A_TIME or (latest.params and steps * len(latest.params.names) >= _NORMS_AT_A_TIME):
            self._count()
        if self.records:
            self.records[-1] = self.records[-1].without_params()
        self.records.extend(record.without_params() for record in records[:-1])
        self.records.append(latest)

    def bad_steps(self, optimizer: int) -> tuple[int, int]:
        """Return how many steps were skipped and how many had a norm that is NaN or infinite, without counting anew.

        Args:
            optimizer: The optimizer's position.
        """
        waiting = [record for record in self._uncounted if record.optimizer == optimizer and record.norm_before != 0]
        total = self._aggregates.get(optimizer)
        skipped, nonfinite = (total.skipped, total.nonfinite) if total is not None else (0, 0)
        return skipped + sum(one.skipped for one in waiting), nonfinite + sum(not one.finite for one in waiting)

    def _count(self) -> None:
        if not self._uncounted:
            return
        with interrupts_deferred():
            records, self._uncounted = self._uncounted, []
            self._parameters.add(records)
            for optimizer in dict.fromkeys(record.optimizer for record in records):
                own = [record for record in records if record.optimizer == optimizer]
                columns = self._aggregates.setdefault(optimizer, Aggregate()).add(own)
                self._landmarks.setdefault(optimizer, Landmarks()).add(columns, partial(_chosen, own))

    def count(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Add further steps to everything but the window and the parameter totals.

        Args:
            columns: The fields of `StepRecord`, each `(n,)`, in order.
        """
        position = np.asarray(columns["optimizer"])
        for optimizer in dict.fromkeys(columns["optimizer"]):
            mask = position == optimizer
            rows = np.flatnonzero(mask).tolist()
            own = columns if mask.all() else {n: list(compress(columns[n], mask.tolist())) for n in Aggregate.COLUMNS}
            self.aggregates.setdefault(optimizer, Aggregate()).add_columns(own)
            self.landmarks.setdefault(optimizer, Landmarks()).add(own, partial(_built, columns, rows))

    def column(self, name: str) -> NDArray[Any]:
        """Return one field of the records in the window as an array.

        Args:
            name: A field of `StepRecord`.

        Returns:
            The values, `(len(self),)`.
        """
        return np.array([getattr(record, name) for record in self.records])

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers, strings, lists and tensors, loadable with `weights_only=True`."""
        return {
            "records": packed_records(self.records),
            "events": [asdict(event) for event in self.events],
            "measurements": self.measurements.state_list(),
            "aggregates": {position: total.state_dict() for position, total in self.aggregates.items()},
            "landmarks": {position: steps.state_dict() for position, steps in self.landmarks.items()},
            "layers": self.parameters.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        records = unpacked_records(state["records"])
        self.records.clear()
        self.records.extend(records)
        self.events.clear()
        self.events.extend(Event(**event) for event in state["events"])
        self.measurements.load_state_list(state.get("measurements", ()))
        self._uncounted = []
        self._aggregates = {position: _restored(Aggregate(), total) for position, total in state["aggregates"].items()}
        self._parameters.load_state_dict(state["layers"])
        if "landmarks" in state:
            self._landmarks = {i: _restored(Landmarks(), steps) for i, steps in state["landmarks"].items()}
        else:
            self._find_landmarks(records)

    def _find_landmarks(self, records: Sequence[StepRecord]) -> None:
        """Derive what earlier versions did not save, as far as the records of the window allow."""
        self._landmarks = {}
        for optimizer, total in self._aggregates.items():
            own = [record for record in records if record.optimizer == optimizer]
            steps = self._landmarks[optimizer] = Landmarks()
            steps.from_start = len(own) == total.steps + total.empty
            columns = {name: [getattr(record, name) for record in own] for name in Aggregate.COLUMNS}
            steps.add(columns, partial(_chosen, own))
            if steps.from_start:
                total.add_course(columns)


_Restored = TypeVar("_Restored", Aggregate, Landmarks)


def _restored(empty: _Restored, state: dict[str, Any]) -> _Restored:
    empty.load_state_dict(state)
    return empty


def _chosen(records: Sequence[StepRecord], positions: Sequence[int]) -> list[StepRecord]:
    return [records[i].without_params() for i in positions]


def _built(columns: Mapping[str, Sequence[Any]], rows: Sequence[int], positions: Sequence[int]) -> list[StepRecord]:
    names = [name for name in StepRecord.__dataclass_fields__ if name in columns]
    chosen = [[columns[name][rows[i]] for i in positions] for name in names]
    return [StepRecord(**dict(zip(names, values, strict=True))) for values in zip(*chosen, strict=True)]
