"""`Aggregate`: exact totals of a whole run of one optimizer, in constant memory."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_clip.core.record.histogram import LogHistogram
from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.core.record.trajectory import Trajectory


class Aggregate:
    """Counts, extremes, mean, quantiles and course of the norms of one optimizer.

    Norms that are not finite are counted and enter nothing else.

    Attributes:
        steps: Optimizer steps seen.
        clipped: Steps at which clipping bound.
        skipped: Steps that were skipped.
        nonfinite: Steps whose norm was not finite.
        min: Smallest finite norm before clipping; NaN before the first.
        max: Largest finite norm before clipping; NaN before the first.
        first_nonfinite: Step of the first norm that was not finite.
        first_bad_names: The parameters whose gradients were not finite at that step.
        last_finite_norm: The norm before clipping at the last finite step before that.
        coef_sum: Sum of the factors over the steps at which clipping bound.
        strategies: Steps by strategy label.
        quantile_sketch: Distribution of the finite norms before clipping.
        before: Trajectory of the norm before clipping.
        after: Trajectory of the norm after clipping.
    """

    COLUMNS: ClassVar = (
        "step",
        "strategy",
        "norm_before",
        "norm_after",
        "clip_coef",
        "clipped",
        "finite",
        "skipped",
    )

    _PLAIN = (
        "steps",
        "clipped",
        "skipped",
        "nonfinite",
        "min",
        "max",
        "total",
        "coef_sum",
        "first_nonfinite",
        "first_bad_names",
        "last_finite_norm",
    )
    _NESTED = ("quantile_sketch", "before", "after")

    def __init__(self) -> None:
        self.steps = self.clipped = self.skipped = self.nonfinite = 0
        self.min = self.max = math.nan
        self.total = self.coef_sum = 0.0
        self.first_nonfinite: int | None = None
        self.first_bad_names: list[str] = []
        self.last_finite_norm: float | None = None
        self.strategies: Counter[str] = Counter()
        self.quantile_sketch = LogHistogram()
        self.before = Trajectory()
        self.after = Trajectory()

    @property
    def mean(self) -> float:
        """Mean of the finite norms before clipping; NaN before the first."""
        finite = self.steps - self.nonfinite
        return self.total / finite if finite else math.nan

    @property
    def clipped_fraction(self) -> float:
        """Share of the finite steps at which clipping bound, in [0, 1]."""
        finite = self.steps - self.nonfinite
        return self.clipped / finite if finite else 0.0

    def quantiles(self, *fractions: float) -> list[float]:
        """Quantiles of the finite norms before clipping, within 0.14 % of the exact ones.

        Args:
            *fractions: Each in [0, 1].

        Returns:
            One number each; NaN before the first norm.
        """
        estimates = self.quantile_sketch.quantiles(fractions)[:, 0]
        return [float(np.clip(q, self.min, self.max)) for q in estimates]

    def add(self, records: Sequence[StepRecord]) -> None:
        """Take in the records of further steps.

        Args:
            records: Of one optimizer, in order.
        """
        sound_so_far = self.first_nonfinite is None
        self.add_columns({name: [getattr(record, name) for record in records] for name in self.COLUMNS})
        if sound_so_far and self.first_nonfinite is not None:
            params = next(record.params for record in records if not record.finite)
            if params is not None:
                bad = ~np.isfinite(params.before)
                self.first_bad_names = [name for name, b in zip(params.names, bad, strict=True) if b]

    def add_columns(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Take in further steps that are given field by field, which is much faster for many.

        Args:
            columns: The fields named in `COLUMNS`, of one optimizer, each `(n,)`, in order.
        """
        before, after, coefs = (np.asarray(columns[name], float) for name in ("norm_before", "norm_after", "clip_coef"))
        clipped, finite = np.asarray(columns["clipped"], bool), np.asarray(columns["finite"], bool)
        if not finite.all():
            self._add_nonfinite(columns["step"], before, finite)
        elif len(before) and self.first_nonfinite is None:
            self.last_finite_norm = float(before[-1])
        self.steps += len(before)
        self.nonfinite += int(np.count_nonzero(~finite))
        self.clipped += int(np.count_nonzero(clipped))
        self.skipped += int(np.count_nonzero(columns["skipped"]))
        self.strategies.update(columns["strategy"])
        self.coef_sum = _added_in_turn(self.coef_sum, coefs[clipped])
        finite_norms = before[finite]
        self.total = _added_in_turn(self.total, finite_norms)
        if finite_norms.size:
            self.min = float(np.fmin(self.min, finite_norms.min()))
            self.max = float(np.fmax(self.max, finite_norms.max()))
        self.quantile_sketch.add(before[None])
        self.before.add(before)
        self.after.add(after)

    def _add_nonfinite(self, steps: Sequence[int], before: NDArray[np.float64], finite: NDArray[np.bool_]) -> None:
        if self.first_nonfinite is not None:
            return
        position = int(np.argmin(finite))
        self.first_nonfinite = int(steps[position])
        if position:
            self.last_finite_norm = float(before[position - 1])

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and tensors."""
        plain = {name: getattr(self, name) for name in self._PLAIN}
        nested = {name: getattr(self, name).state_dict() for name in self._NESTED}
        return {**plain, **nested, "strategies": dict(self.strategies)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name in self._PLAIN:
            setattr(self, name, state[name])
        for name in self._NESTED:
            getattr(self, name).load_state_dict(state[name])
        self.strategies = Counter(state["strategies"])


def _added_in_turn(total: float, values: NDArray[np.float64]) -> float:
    """The sum in the order of the steps: where a run is cut into batches must not change a bit of it."""
    return float(np.add.accumulate(np.append(total, values))[-1])
