"""`Aggregate`: exact totals of a whole run of one optimizer, in constant memory."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_clip.core.record.histogram import LogHistogram
from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.core.record.trajectory import MeanTrajectory, Trajectory


class Aggregate:
    """Counts, extremes, mean, quantiles and trajectory of the norms of one optimizer.

    A NaN or infinite norm is counted but does not enter any other statistic. A norm of exactly 0 means that there was
    no gradient, for instance because every loss was `None` or masked: such a step is counted apart, and only the
    trajectories contain it.

    Attributes:
        steps: The number of optimizer steps with a gradient.
        empty: The number of optimizer steps without a gradient.
        clipped: The number of clipped steps.
        skipped: The number of skipped steps.
        nonfinite: The number of steps whose norm was NaN or infinite.
        min: The smallest finite norm before clipping; NaN before the first.
        max: The largest finite norm before clipping; NaN before the first.
        first_nonfinite: The step of the first NaN or infinite norm; `None` if there was none.
        first_bad_names: The parameters whose gradients were NaN or infinite at that step.
        last_finite_norm: The norm before clipping at the last step before that.
        coef_sum: The sum of the factors over the clipped steps.
        strategies: The number of steps by strategy label.
        quantile_sketch: The distribution of the finite norms before clipping.
        before: The trajectory of the norm before clipping.
        after: The trajectory of the norm after clipping.
        losses: The trajectory of the finite losses.
        learning_rates: The trajectory of the learning rate, where it is known and above 0.
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
        "loss",
        "learning_rate",
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
        "empty",
    )
    _NESTED = ("quantile_sketch", "before", "after", "losses", "learning_rates")

    def __init__(self) -> None:
        self.steps = self.empty = self.clipped = self.skipped = self.nonfinite = 0
        self.min = self.max = math.nan
        self.total = self.coef_sum = 0.0
        self.first_nonfinite: int | None = None
        self.first_bad_names: list[str] = []
        self.last_finite_norm: float | None = None
        self.strategies: Counter[str] = Counter()
        self.quantile_sketch = LogHistogram()
        self.before = Trajectory()
        self.after = Trajectory()
        self.losses = MeanTrajectory()
        self.learning_rates = MeanTrajectory()

    @property
    def mean(self) -> float:
        """The mean of the finite norms before clipping; NaN before the first."""
        finite = self.steps - self.nonfinite
        return self.total / finite if finite else math.nan

    @property
    def clipped_fraction(self) -> float:
        """The fraction of the steps with a finite gradient that were clipped, in [0, 1]."""
        finite = self.steps - self.nonfinite
        return self.clipped / finite if finite else 0.0

    def quantiles(self, *fractions: float) -> list[float]:
        """Return quantiles of the finite norms before clipping, within 0.14% of the exact ones.

        Args:
            *fractions: The quantile levels, each in [0, 1].

        Returns:
            One quantile per level; NaN before the first finite norm.
        """
        estimates = self.quantile_sketch.quantiles(fractions)[:, 0]
        return [float(np.clip(q, self.min, self.max)) for q in estimates]

    def add(self, records: Sequence[StepRecord]) -> dict[str, list[Any]]:
        """Add the records of further steps.

        Args:
            records: The records of one optimizer, in order.

        Returns:
            Their fields named in `COLUMNS`, each `(n,)`.
        """
        all_finite_so_far = self.first_nonfinite is None
        columns = {name: [getattr(record, name) for record in records] for name in self.COLUMNS}
        self.add_columns(columns)
        if all_finite_so_far and self.first_nonfinite is not None:
            params = next(record.params for record in records if not record.finite)
            if params is not None:
                bad = ~np.isfinite(params.before)
                self.first_bad_names = [name for name, b in zip(params.names, bad, strict=True) if b]
        return columns

    def add_columns(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Add further steps given as columns, which is much faster than records if there are many.

        Args:
            columns: The fields named in `COLUMNS`, each `(n,)`, of one optimizer and in order.
        """
        before, after, coefs = (np.asarray(columns[name], float) for name in ("norm_before", "norm_after", "clip_coef"))
        clipped, finite = np.asarray(columns["clipped"], bool), np.asarray(columns["finite"], bool)
        empty, sample = before == 0, finite & (before > 0)
        self._add_first_nonfinite(columns["step"], before, finite)
        self.empty += int(np.count_nonzero(empty))
        self.steps += int(np.count_nonzero(~empty))
        self.nonfinite += int(np.count_nonzero(~finite))
        self.clipped += int(np.count_nonzero(clipped & ~empty))
        self.skipped += int(np.count_nonzero(np.asarray(columns["skipped"], bool) & ~empty))
        self.strategies.update(columns["strategy"])
        self.coef_sum = _sum_in_order(self.coef_sum, coefs[clipped & ~empty])
        norms = before[sample]
        self.total = _sum_in_order(self.total, norms)
        if norms.size:
            self.min = float(np.fmin(self.min, norms.min()))
            self.max = float(np.fmax(self.max, norms.max()))
        self.quantile_sketch.add(norms[None])
        self.before.add(before)
        self.after.add(after)
        self.add_course(columns)

    def add_course(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Add losses and learning rates of further steps to their trajectories.

        Args:
            columns: `"loss"` and `"learning_rate"`, each `(n,)`, of one optimizer and in order.
        """
        losses, rates = (np.asarray(columns[name], float) for name in ("loss", "learning_rate"))  # None becomes NaN
        self.losses.add(losses[np.isfinite(losses)])
        self.learning_rates.add(rates[rates > 0])

    def _add_first_nonfinite(
        self, steps: Sequence[int], before: NDArray[np.float64], finite: NDArray[np.bool_]
    ) -> None:
        """Remember the first step that is not finite, and the last norm before it."""
        if self.first_nonfinite is not None:
            return
        position = len(before) if finite.all() else int(np.argmin(finite))
        if position < len(before):
            self.first_nonfinite = int(steps[position])
        earlier = before[:position]
        if (earlier > 0).any():
            self.last_finite_norm = float(earlier[earlier > 0][-1])

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers, lists and tensors."""
        plain = {name: getattr(self, name) for name in self._PLAIN}
        nested = {name: getattr(self, name).state_dict() for name in self._NESTED}
        return {**plain, **nested, "strategies": dict(self.strategies)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name in self._PLAIN:
            setattr(self, name, state[name] if name != "empty" else state.get("empty", 0))  # new in the second version
        for name in self._NESTED:
            if name in state:  # the first version had no losses and learning rates
                getattr(self, name).load_state_dict(state[name])
        self.strategies = Counter(state["strategies"])


def _sum_in_order(total: float, values: NDArray[np.float64]) -> float:
    """Add values one by one in the order of the steps, so that the sum does not depend on how a run is batched."""
    return float(np.add.accumulate(np.append(total, values))[-1])
