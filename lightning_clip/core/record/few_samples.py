"""`FewSamples`: the exact numbers of series that have only a few, so that their quantiles are exact."""

import base64
import binascii
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 32
"""A series with more numbers is no longer kept."""


class FewSamples:
    """The numbers of each of many series, as long as the series has at most 32.

    When every series has more, no memory is used any more.

    Args:
        rows: The number of series.
    """

    def __init__(self, rows: int = 0) -> None:
        self._sorted: NDArray[np.float64] | None = np.full((rows, MOST), np.nan)

    def add(self, values: NDArray[np.float64], counted: NDArray[np.bool_], totals: NDArray[np.int64]) -> None:
        """Add numbers.

        Args:
            values: The numbers, `(rows, n)`.
            counted: Which of them count, `(rows, n)`.
            totals: How many numbers each series has now, `(rows,)`.
        """
        if self._sorted is None:
            return
        few = np.flatnonzero(totals <= MOST)
        if not few.size:
            self._sorted = None
            return
        new = np.where(counted[few], values[few], np.nan)
        self._sorted[few] = np.sort(np.hstack([self._sorted[few], new]), axis=1)[:, :MOST]  # NaN comes last

    def add_rows(self, rows: int, before: int) -> None:
        """Add empty series.

        Args:
            rows: The number of series to add.
            before: The number of series so far, whose numbers may no longer be kept.
        """
        kept = self._sorted if self._sorted is not None else np.full((before, MOST), np.nan)
        self._sorted = np.vstack([kept, np.full((rows, MOST), np.nan)])

    def quantile(self, fraction: float, totals: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the nearest-rank quantile of each series.

        Args:
            fraction: The quantile level, in [0, 1].
            totals: How many numbers each series has, `(rows,)`.

        Returns:
            The quantiles, `(rows,)`; NaN where the numbers are not all kept.
        """
        if self._sorted is None:
            return np.full(len(totals), np.nan)
        ranks = np.floor(fraction * np.maximum(totals - 1, 0)).astype(np.int64)
        values = self._sorted[np.arange(len(totals)), np.minimum(ranks, MOST - 1)]
        are_all = np.count_nonzero(~np.isnan(self._sorted), axis=1) == totals
        return np.where(are_all, values, np.nan)

    def state(self, totals: NDArray[np.int64]) -> str:
        """Return the numbers that are kept of series with few, as text; empty if there are none.

        Args:
            totals: How many numbers each series has, `(rows,)`.
        """
        if self._sorted is None or not ((totals > 0) & (totals <= MOST)).any():
            return ""
        table = np.where((totals <= MOST)[:, None], self._sorted, np.nan)
        return base64.b64encode(zlib.compress(table.astype("<f8").tobytes())).decode()

    def load(self, text: Any, rows: int) -> None:
        """Restore what `state` returned.

        Args:
            text: The text.
            rows: The number of series.

        Raises:
            ValueError: The text is something else.
        """
        self._sorted = np.full((rows, MOST), np.nan)
        if text == "":
            return
        size = rows * MOST * 8
        try:
            data = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), size + 1)
        except (binascii.Error, zlib.error, TypeError) as error:
            raise ValueError("few to be numbers, compressed by zlib and written in base 64") from error
        if len(data) != size:
            raise ValueError(f"few to hold {rows} rows of {MOST} numbers")
        table = np.frombuffer(data, dtype="<f8").astype(np.float64).reshape(rows, MOST)
        if (table < 0).any() or np.isinf(table).any():
            raise ValueError("few to hold numbers that are not negative")
        self._sorted = np.sort(table, axis=1)
