"""`AdaptiveHistogram`: quantiles of many series of non-negative numbers, in a fixed number of bytes for each series."""

import base64
import binascii
import zlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_clip.core.record.few_samples import FewSamples

_BINS = 64
_FINEST = 256
"""The number of bins per doubling before any are merged."""
_LARGEST_LEVEL = 14
"""At this level a bin is 64 doublings wide, and 64 bins cover all float64 numbers."""
_EMPTY = -(2**30)
_OLD_LEVEL, _OLD_FIRST = 3, -64 * 32  # the first version: 32 bins per doubling, from 2^-64


class AdaptiveHistogram:
    """Counts of numbers in 64 bins of equal width on a logarithmic scale, for each of many series.

    A series starts with 256 bins per doubling. Whenever its numbers no longer fit into 64 bins, its bins are merged in
    pairs. So a series takes as many bytes however wide its numbers range, and a quantile lies in the bin of the exact
    one: within 1.1% if the numbers range over a factor of 1.6, 9% for a factor of 200 and 19% for one of 50,000. Within
    a bin the numbers are taken to be evenly spread, which brings the typical error far below that. Of a series with at
    most 32 numbers, each is kept, and its quantiles are exact. Zeros have a bin of their own; NaN and infinity are not
    counted. The result does not depend on the order of the numbers.

    Args:
        rows: The number of series, counted independently.

    Attributes:
        counts: The number of values in each bin, uint32 `(rows, 64)`.
        zeros: The number of zeros, uint32 `(rows,)`.

    Example:
        >>> histogram = AdaptiveHistogram(1)
        >>> histogram.add([[1.0, 1.0, 1.1]])
        >>> [round(float(q[0]), 2) for q in histogram.quantiles([0.5, 1.0])]
        [1.0, 1.1]
    """

    def __init__(self, rows: int = 0) -> None:
        self.counts: NDArray[np.uint32] = np.zeros((rows, _BINS), dtype=np.uint32)
        self.zeros: NDArray[np.uint32] = np.zeros(rows, dtype=np.uint32)
        self._level = np.zeros(rows, dtype=np.int32)  # a bin is 2^level / 256 doublings wide
        self._first = np.full(rows, _EMPTY, dtype=np.int32)  # the number of the first bin, counted from 2^0
        self._few = FewSamples(rows)

    def add(self, values: ArrayLike) -> None:
        """Count values.

        Args:
            values: Non-negative numbers, `(rows, n)`; NaN and infinity are ignored.
        """
        table = np.asarray(values, dtype=np.float64)
        self.zeros += (table == 0).sum(axis=1, dtype=np.uint32)
        counted = (table > 0) & (table < np.inf)
        rows = np.flatnonzero(counted.any(axis=1))
        if rows.size:
            self._count(rows, counted[rows], table[rows])
        self._few.add(table, (table >= 0) & (table < np.inf), self._totals())

    def _totals(self) -> NDArray[np.int64]:
        totals: NDArray[np.int64] = self.zeros + self.counts.sum(axis=1, dtype=np.int64)
        return totals

    def _count(self, rows: NDArray[np.int64], counted: NDArray[np.bool_], table: NDArray[np.float64]) -> None:
        fine = np.floor(np.log2(np.where(counted, table, 1.0)) * _FINEST).astype(np.int32)
        self._make_room(rows, *_extremes(fine, counted))
        place = (fine >> self._level[rows, None]) - self._first[rows, None] + _BINS * np.arange(len(rows))[:, None]
        added = np.bincount(place[counted], minlength=len(rows) * _BINS)
        self.counts[rows] += added.reshape(len(rows), _BINS).astype(np.uint32)

    def add_rows(self, rows: int) -> None:
        """Add empty series.

        Args:
            rows: The number of series to add.
        """
        more = AdaptiveHistogram(rows)
        self._few.add_rows(rows, len(self.counts))
        self.counts = np.vstack([self.counts, more.counts])
        for name in ("zeros", "_level", "_first"):
            setattr(self, name, np.concatenate([getattr(self, name), getattr(more, name)]))

    def quantiles(self, fractions: ArrayLike) -> NDArray[np.float64]:
        """Return the nearest-rank quantiles of each series.

        Args:
            fractions: The quantile levels, `(q,)`, each in [0, 1].

        Returns:
            The quantiles, `(q, rows)`; NaN for an empty series.
        """
        counts = np.hstack([self.zeros[:, None], self.counts]).astype(np.int64)
        upto = counts.cumsum(axis=1)
        total, rows = upto[:, -1], np.arange(len(upto))
        result = np.full((np.size(fractions), len(total)), np.nan)
        for i, fraction in enumerate(np.ravel(fractions)):
            rank = np.floor(fraction * np.maximum(total - 1, 0)) + 1
            place = (upto < rank[:, None]).sum(axis=1).clip(max=_BINS)
            inside = (rank - upto[rows, place] + counts[rows, place] - 0.5) / np.maximum(counts[rows, place], 1)
            doublings = (self._first + place - 1 + inside) * np.exp2(self._level) / _FINEST
            with np.errstate(over="ignore", under="ignore"):
                value = np.where(place == 0, 0.0, np.exp2(doublings))
            exact = self._few.quantile(fraction, total)
            result[i] = np.where(total > 0, np.where(np.isnan(exact), value, exact), np.nan)
        return result

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers and text: the counts are int32, compressed by zlib and written in base 64."""
        table = np.column_stack([self._level, self._first, self.zeros, self.counts]).astype("<i4")
        text = base64.b64encode(zlib.compress(table.tobytes())).decode()
        few = self._few.state(self._totals())
        return {"rows": len(table), "table": text, **({"few": few} if few else {})}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, now or in the first version.

        Raises:
            ValueError: The state is not one of a histogram.
        """
        self.__init__(state["rows"])  # type: ignore[misc]
        if "table" not in state:
            self._load_first_version(state)
            return
        table = _unpacked(state["table"], state["rows"])
        self._level, self._first = table[:, 0].copy(), table[:, 1].copy()
        self.zeros, self.counts = table[:, 2].astype(np.uint32), table[:, 3:].astype(np.uint32)
        self._few.load(state.get("few", ""), state["rows"])

    def _load_first_version(self, state: dict[str, Any]) -> None:
        """Read counts of 32 bins per doubling, which are the bins of this class after three mergers."""
        row, bins, count = (np.asarray(state[name], dtype=np.int64) for name in ("row", "bin", "count"))
        zero = bins == 0
        np.add.at(self.zeros, row[zero], count[zero].astype(np.uint32))
        row, count = row[~zero], count[~zero]
        fine = ((bins[~zero] - 1 + _OLD_FIRST) << _OLD_LEVEL).astype(np.int32)
        self._level[:] = _OLD_LEVEL
        for own in np.unique(row):
            limits = fine[row == own]
            self._make_room(np.array([own]), limits.min(keepdims=True), limits.max(keepdims=True))
        np.add.at(self.counts, (row, (fine >> self._level[row]) - self._first[row]), count.astype(np.uint32))

    def _make_room(self, rows: NDArray[np.int64], low: NDArray[np.int32], high: NDArray[np.int32]) -> None:
        """Merge and move the bins of some series until the numbers from `low` to `high`, each `(rows,)`, have one."""
        used = _BINS - 1 - np.argmax(self.counts[rows, ::-1] > 0, axis=1).astype(np.int32)
        held = self._first[rows] != _EMPTY
        level = self._level[rows]
        first = np.where(held, self._first[rows], low >> level)
        last = np.where(held, first + used, first)
        target = level.copy()
        for _ in range(_LARGEST_LEVEL + 1):
            more = target - level
            wide = np.maximum(last >> more, high >> target) - np.minimum(first >> more, low >> target) >= _BINS
            if not wide.any():
                break
            target += wide
        more = target - level
        start = np.minimum(first >> more, low >> target)
        changed = held & ((more > 0) | (start != first))
        if changed.any():
            own = rows[changed]
            source, column = np.nonzero(self.counts[own])
            place = ((first[changed][source] + column) >> more[changed][source]) - start[changed][source]
            flat = np.bincount(source * _BINS + place, self.counts[own][source, column], len(own) * _BINS)
            self.counts[own] = flat.reshape(len(own), _BINS).astype(np.uint32)
        self._level[rows], self._first[rows] = target, start


def _extremes(fine: NDArray[np.int32], counted: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The smallest and the largest number of each row among those that count."""
    limits = np.iinfo(np.int32)
    return np.where(counted, fine, limits.max).min(axis=1), np.where(counted, fine, limits.min).max(axis=1)


def _unpacked(text: str, rows: int) -> NDArray[np.int32]:
    """The numbers behind a text, `(rows, 3 + bins)`; no more memory than that is used, whatever the text says."""
    size = rows * (3 + _BINS) * 4
    try:
        data = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), size + 1)
    except (binascii.Error, zlib.error, TypeError) as error:
        raise ValueError("table to be numbers, compressed by zlib and written in base 64") from error
    if len(data) != size:
        raise ValueError(f"table to hold {rows} rows of {3 + _BINS} numbers")
    table = np.frombuffer(data, dtype="<i4").astype(np.int32).reshape(rows, 3 + _BINS)
    if (table[:, 0] < 0).any() or (table[:, 0] > _LARGEST_LEVEL).any() or (table[:, 2:] < 0).any():
        raise ValueError("table to hold counts")
    return table
