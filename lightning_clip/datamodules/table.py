"""`Table` and `read_table`: columns of numbers from a CSV or an `.npy` file."""

import csv
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_clip._checks import did_you_mean
from lightning_clip._errors import InputError

_MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}


class Table(NamedTuple):
    """Rows of numbers.

    Attributes:
        names: Names of the columns.
        values: `(rows, columns)`; NaN where a value is missing.
        places: Where each row is in the file, for messages: `"line 17"`.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    places: Sequence[str]

    def take(self, columns: Sequence[str] | None) -> NDArray[np.float64]:
        """Select columns.

        Args:
            columns: Names of the columns, in order; `None` for all.

        Returns:
            `(rows, columns)`.
        """
        return self.values if columns is None else self.values[:, [self.names.index(name) for name in columns]]

    def first(self, cells: NDArray[np.bool_]) -> str | None:
        """The place of the first marked cell.

        Args:
            cells: `(rows, columns)`, true for the marked cells.

        Returns:
            For instance `"line 17, column 'price'"`; `None` if no cell is marked.
        """
        rows, columns = np.nonzero(cells)
        return f"{self.places[rows[0]]}, column {self.names[columns[0]]!r}" if len(rows) else None


def read_table(path: str, *, columns: Sequence[str] | None = None, delimiter: str = ",") -> Table:
    """Read a CSV file, or an array from an `.npy` file.

    If the first line is not all numbers, it names the columns. Otherwise, and in an array, the columns are called
    `"0"`, `"1"`, …. Empty cells and `NA`, `N/A`, `NaN`, `null`, `None` and `?`, in any case, are missing values.
    Columns that are not selected, dates for instance, may contain anything.

    Args:
        path: The file; read as CSV in UTF-8 unless its name ends in `.npy`.
        columns: Names of the columns to keep, in this order; `None` for all.
        delimiter: Separator between two cells.

    Returns:
        The table.

    Raises:
        InputError: The file cannot be read, lacks a selected column, or has something other than numbers in one.
    """
    try:
        return _read_array(path, columns) if path.endswith(".npy") else _read_csv(path, columns, delimiter)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8: {error.reason} at byte {error.start}.") from error


def _read_array(path: str, columns: Sequence[str] | None) -> Table:
    try:
        array = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise InputError(f"{path}: not an array of numbers ({error}).") from error
    if not isinstance(array, np.ndarray) or array.ndim not in (1, 2) or array.dtype.kind not in "biuf":
        raise InputError(f"{path}: expected an array of numbers, (steps,) or (steps, columns).")
    values = array.reshape(len(array), -1).astype(np.float64)
    names = tuple(str(column) for column in range(values.shape[1]))
    kept = _positions(path, names, columns)
    return Table(tuple(names[k] for k in kept), values[:, kept], RowPlaces(len(values)))


def _read_csv(path: str, columns: Sequence[str] | None, delimiter: str) -> Table:
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        lines = _lines(file, delimiter)
        first_line, first = next(lines, (0, []))
        if not first:
            raise InputError(f"{path}: the file is empty.")
        has_names = any(_number(cell) is None for cell in first)
        names = tuple(cell.strip() for cell in first) if has_names else tuple(str(k) for k in range(len(first)))
        kept = _positions(path, names, columns)
        rows, places = [], []
        for line, cells in lines if has_names else chain([(first_line, first)], lines):
            if len(cells) != len(names):
                raise InputError(f"{path}, line {line}: expected {len(names)} cells, found {len(cells)}.")
            rows.append([_checked(path, line, names[k], cells[k]) for k in kept])
            places.append(f"line {line}")
    return Table(tuple(names[k] for k in kept), np.array(rows, dtype=np.float64).reshape(-1, len(kept)), places)


def _lines(file: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not empty, with their numbers."""
    reader = csv.reader(file, delimiter=delimiter)
    return ((reader.line_num, cells) for cells in reader if cells)


def _number(cell: str) -> float | None:
    """The number in a cell; NaN for a missing value, `None` if it is not a number."""
    if cell.strip().lower() in _MISSING:
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        return None


def _checked(path: str, line: int, column: str, cell: str) -> float:
    number = _number(cell)
    if number is None:
        separated = ";" in cell or "\t" in cell
        remedy = "set the delimiter, as in delimiter=';'" if separated else "select columns with columns=…"
        raise InputError(f"{path}, line {line}: {cell!r} in column {column!r} is not a number; {remedy}.")
    return number


def _positions(path: str, names: Sequence[str], columns: Sequence[str] | None) -> list[int]:
    unknown = [column for column in columns or () if column not in names]
    if unknown:
        known = ", ".join(map(repr, names)) + (did_you_mean(unknown[0], names) or ".")
        raise InputError(f"{path}: no column {unknown[0]!r}; the columns are {known}")
    return list(range(len(names))) if columns is None else [names.index(column) for column in columns]


class RowPlaces(Sequence[str]):
    """`"row 0"`, `"row 1"`, …: the places of the rows of an array."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, row: int) -> str:  # type: ignore[override]  # slices are not supported
        return f"row {row}"
