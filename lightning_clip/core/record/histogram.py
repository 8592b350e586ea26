"""`LogHistogram`: quantiles of positive numbers in constant memory, to a known relative accuracy."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

_OCTAVES_AT_A_TIME = 4


class LogHistogram:
    """Counts of numbers in bins of equal width on a logarithmic scale, one row per series.

    A quantile read from it is within a factor `2 ** (1 / (2 * bins_per_octave))` of the exact one: 0.14 % for 256
    bins per octave. Zeros have a bin of their own; numbers that are not finite are not counted. Memory is taken for the
    octaves that have been met, four at a time, and does not grow with the number of numbers.

    Args:
        rows: How many series are counted side by side.
        bins_per_octave: Bins for each doubling.
        octaves: Powers of two that are told apart, from the first to before the last.

    Example:
        >>> histogram = LogHistogram()
        >>> histogram.add([[1.0, 2.0, 4.0, 8.0, 16.0]])
        >>> [round(float(q[0]), 1) for q in histogram.quantiles([0.0, 0.5, 1.0])]
        [1.0, 4.0, 16.0]
    """

    def __init__(self, rows: int = 1, *, bins_per_octave: int = 256, octaves: tuple[int, int] = (-150, 130)) -> None:
        self.bins_per_octave = bins_per_octave
        self.octaves = octaves
        self.counts: NDArray[np.uint32] = np.zeros((rows, 1), dtype=np.uint32)
        self._first_block = 0

    def add(self, values: ArrayLike) -> None:
        """Count numbers.

        Args:
            values: `(rows, n)`, non-negative; those that are not finite are passed over.
        """
        table = np.asarray(values, dtype=np.float64)
        row, column = np.nonzero(np.isfinite(table))
        bins = self._bins(table[row, column])
        self._make_room(bins)
        np.add.at(self.counts, (row, self._columns(bins)), 1)

    def add_rows(self, rows: int) -> None:
        """Make room for more series.

        Args:
            rows: How many are added.
        """
        self.counts = np.pad(self.counts, ((0, rows), (0, 0)))

    def quantiles(self, fractions: ArrayLike) -> NDArray[np.float64]:
        """The nearest-rank quantiles of each series.

        Args:
            fractions: `(q,)`, each in [0, 1].

        Returns:
            `(q, rows)`; NaN for a series without numbers.
        """
        cumulative = self.counts.cumsum(axis=1, dtype=np.int64)
        total = cumulative[:, -1]
        result = np.full((np.size(fractions), len(total)), np.nan)
        for i, fraction in enumerate(np.ravel(fractions)):
            rank = np.floor(fraction * np.maximum(total - 1, 0)) + 1
            columns = (cumulative < rank[:, None]).sum(axis=1)
            result[i] = np.where(total > 0, self._centres(self._bins_at(columns)), np.nan)
        return result

    def state_dict(self) -> dict[str, Any]:
        """The counts that are not zero, as tensors."""
        row, column = np.nonzero(self.counts)
        return {
            "rows": len(self.counts),
            "row": torch.from_numpy(row),
            "bin": torch.from_numpy(self._bins_at(column)),
            "count": torch.from_numpy(self.counts[row, column].astype(np.int64)),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        row, bins = np.asarray(state["row"], dtype=np.int64), np.asarray(state["bin"], dtype=np.int64)
        self.counts = np.zeros((state["rows"], 1), dtype=np.uint32)
        self._make_room(bins)
        self.counts[row, self._columns(bins)] = np.asarray(state["count"], dtype=np.uint32)

    def _bins(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """The bin of each number, counted from the first octave: 0 for zeros, 1 for the first above."""
        with np.errstate(divide="ignore"):
            position = (np.log2(values) - self.octaves[0]) * self.bins_per_octave
        last = (self.octaves[1] - self.octaves[0]) * self.bins_per_octave
        clipped: NDArray[np.float64] = np.clip(np.floor(position) + 1, 0, last)
        return clipped.astype(np.int64)

    def _make_room(self, bins: NDArray[np.int64]) -> None:
        """Extend the columns to the blocks of octaves that the bins lie in; the first column is that of zeros."""
        blocks = (bins[bins > 0] - 1) // self._block
        if not blocks.size:
            return
        held = (self.counts.shape[1] - 1) // self._block
        if not held:
            self._first_block = int(blocks.min())
        before = max(0, self._first_block - int(blocks.min())) * self._block
        after = max(0, int(blocks.max()) + 1 - self._first_block - held) * self._block
        if before or after:
            zeros, counted = self.counts[:, :1], np.pad(self.counts[:, 1:], ((0, 0), (before, after)))
            self.counts = np.hstack([zeros, counted])
            self._first_block -= before // self._block

    @property
    def _block(self) -> int:
        return _OCTAVES_AT_A_TIME * self.bins_per_octave

    def _columns(self, bins: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.where(bins > 0, bins - self._first_block * self._block, 0)

    def _bins_at(self, columns: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.where(columns > 0, columns + self._first_block * self._block, 0)

    def _centres(self, bins: NDArray[np.int64]) -> NDArray[np.float64]:
        centres: NDArray[np.float64] = np.exp2((bins - 0.5) / self.bins_per_octave + self.octaves[0])
        return np.where(bins == 0, 0.0, centres)
