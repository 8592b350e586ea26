"""`LogHistogram`: quantiles of non-negative numbers in constant memory, with a known relative accuracy."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

_OCTAVES_AT_A_TIME = 4


class LogHistogram:
    """Counts of numbers in bins of equal width on a logarithmic scale, one row per series.

    Its quantiles are within a factor `2 ** (1 / (2 * bins_per_octave))` of the exact ones: 0.14% for 256 bins per
    octave. Zeros have their own bin; NaN and infinity are not counted. Memory covers the octaves seen so far, four at a
    time, and does not grow with the number of values.

    Args:
        rows: The number of series, counted independently.
        bins_per_octave: The number of bins per doubling.
        octaves: The range of exponents of two, the last excluded; smaller and larger numbers go to the end bins.

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
        """Count values.

        Args:
            values: Non-negative numbers, `(rows, n)`; NaN and infinity are ignored.
        """
        table = np.asarray(values, dtype=np.float64)
        row, column = np.nonzero(np.isfinite(table))
        bins = self._bins(table[row, column])
        self._make_room(bins)
        np.add.at(self.counts, (row, self._columns(bins)), 1)

    def add_rows(self, rows: int) -> None:
        """Add empty series.

        Args:
            rows: The number of series to add.
        """
        self.counts = np.pad(self.counts, ((0, rows), (0, 0)))

    def quantiles(self, fractions: ArrayLike) -> NDArray[np.float64]:
        """Return the nearest-rank quantiles of each series.

        Args:
            fractions: The quantile levels, `(q,)`, each in [0, 1].

        Returns:
            The quantiles, `(q, rows)`; NaN for an empty series.
        """
        cumulative = self.counts.cumsum(axis=1, dtype=np.int64)
        total = cumulative[:, -1]
        result = np.full((np.size(fractions), len(total)), np.nan)
        for i, fraction in enumerate(np.ravel(fractions)):
            rank = np.floor(fraction * np.maximum(total - 1, 0)) + 1
            columns = (cumulative < rank[:, None]).sum(axis=1)
            result[i] = np.where(total > 0, self._centers(self._bins_at(columns)), np.nan)
        return result

    def fraction_above(self, value: float, row: int = 0) -> float:
        """Return the fraction of the numbers of a series that are above a value.

        Args:
            value: A number of at least 0.
            row: The series.

        Returns:
            The fraction, in [0, 1]; numbers in the bin of the value itself are not above it. 0 for an empty series.
        """
        column = int(self._columns(self._bins(np.array([value])))[0])
        counts = self.counts[row]
        total = int(counts.sum(dtype=np.int64))
        return int(counts[max(column, 0) + 1 :].sum(dtype=np.int64)) / total if total else 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the nonzero counts as tensors."""
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
        """Return the bin of each number: 0 for zero, 1 for the first bin of the first octave."""
        with np.errstate(divide="ignore"):
            position = (np.log2(values) - self.octaves[0]) * self.bins_per_octave
        last = (self.octaves[1] - self.octaves[0]) * self.bins_per_octave
        clipped: NDArray[np.float64] = np.clip(np.floor(position) + 1, 0, last)
        return clipped.astype(np.int64)

    def _make_room(self, bins: NDArray[np.int64]) -> None:
        """Add columns for the octaves of these bins; column 0 is always the bin of zeros."""
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

    def _centers(self, bins: NDArray[np.int64]) -> NDArray[np.float64]:
        centers: NDArray[np.float64] = np.exp2((bins - 0.5) / self.bins_per_octave + self.octaves[0])
        return np.where(bins == 0, 0.0, centers)
