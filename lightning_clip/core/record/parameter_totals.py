"""`ParameterTotals`: statistics of each parameter's gradient over a whole run, in constant memory."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_clip.core.record.adaptive_histogram import AdaptiveHistogram
from lightning_clip.core.record.step_record import StepRecord


class ParameterTotals:
    """Gradient norms, share of the total norm and clipping of each parameter.

    Attributes:
        names: The `n` parameters seen, in the order of their first gradient.
        steps: The number of steps with a finite total norm above 0 at which each parameter had a gradient, `(n,)`.
        clipped: The number of steps at which its gradient was clipped, `(n,)`.
        max: Its largest finite norm before clipping, `(n,)`.
        share: Its fraction of the squared total norm, summed over the steps, `(n,)`.
        sketch: The distribution of its norm before clipping, one row per parameter.
    """

    _COLUMNS = ("steps", "clipped", "max", "share")

    def __init__(self) -> None:
        self.names: list[str] = []
        self._found: tuple[tuple[str, ...] | None, list[int]] = None, []
        self.steps = self.clipped = self.max = self.share = np.zeros(0)
        self.sketch = AdaptiveHistogram()

    def add(self, records: Sequence[StepRecord]) -> None:
        """Add further steps; those without parameter norms or whose total norm is 0, NaN or infinite are ignored.

        Args:
            records: The records, in order.
        """
        with_params = [r for r in records if r.params is not None and r.is_sample]
        for names, group in groupby(with_params, key=lambda r: r.params.names):  # type: ignore[union-attr]
            params = [record.params for record in group if record.params is not None]
            before, clipped = (np.concatenate([getattr(p, name) for p in params]) for name in ("before", "clipped"))
            self._add(names, before.reshape(len(params), -1), clipped.reshape(len(params), -1))

    def _add(self, names: tuple[str, ...], before: NDArray[np.float64], clipped: NDArray[np.bool_]) -> None:
        rows = self._rows(names)
        peak = before.max(axis=1, keepdims=True, initial=0.0)
        relative = np.divide(before, peak, out=np.zeros_like(before), where=peak > 0)  # squares of 1e200 overflow
        squares = relative**2
        total = squares.sum(axis=1, keepdims=True)
        self.steps[rows] += len(before)
        self.clipped[rows] += clipped.sum(axis=0)
        self.max[rows] = np.maximum(self.max[rows], before.max(axis=0))
        shares = np.divide(squares, total, out=np.zeros_like(squares), where=total > 0)
        # Added in the order of the steps, so that the sum does not depend on how a run is batched.
        self.share[rows] = np.add.accumulate(np.vstack([self.share[rows], shares]))[-1]
        table = np.full((len(self.names), len(before)), np.nan)
        table[rows] = before.T
        self.sketch.add(table)

    def _rows(self, names: tuple[str, ...]) -> list[int]:
        known = None if self._found[0] is names else set(self.names)
        new = [] if known is None else [name for name in names if name not in known]
        if new:
            self.names += new
            for column in self._COLUMNS:
                setattr(self, column, np.concatenate([getattr(self, column), np.zeros(len(new))]))
            self.sketch.add_rows(len(new))
        if self._found[0] is not names:
            position = {name: i for i, name in enumerate(self.names)}
            self._found = names, [position[name] for name in names]
        return self._found[1]

    def state_dict(self) -> dict[str, Any]:
        """Return plain lists and tensors."""
        columns = {column: torch.from_numpy(getattr(self, column).copy()) for column in self._COLUMNS}
        return {"names": list(self.names), **columns, "sketch": self.sketch.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.names, self._found = list(state["names"]), (None, [])
        for column in self._COLUMNS:
            setattr(self, column, np.asarray(state[column], dtype=np.float64).copy())
        self.sketch.load_state_dict(state["sketch"])
