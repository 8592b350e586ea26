"""`pivot`: the standings of a study by the values of one axis, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lightning_clip.studies.comparison.standings import Standing

Value = float | str


@dataclass(frozen=True, slots=True)
class Pivot:
    """The standings as a table: a row for each strategy, a column for each value of an axis.

    Attributes:
        axis: The name of the axis.
        values: Its values: numbers in increasing order, words in order of first appearance.
        rows: The standings by the name of the row, then by value. A value that was not tried is missing.
    """

    axis: str
    values: tuple[Value, ...]
    rows: Mapping[str, Mapping[Value, Standing]]

    @property
    def is_numeric(self) -> bool:
        """Whether all values of the axis are numbers."""
        return not any(isinstance(value, str) for value in self.values)

    @property
    def standings(self) -> list[Standing]:
        """All standings, row by row."""
        return [row for own in self.rows.values() for row in own.values()]


def pivot(rows: Sequence[Standing]) -> Pivot | None:
    """Arrange standings by the values of the axis that has the most; a numeric axis takes precedence.

    Args:
        rows: The standings.

    Returns:
        The table; `None` if no axis has two values.

    Example:
        >>> pivot([]) is None
        True
    """
    axes = varied_axes(rows)
    if not axes:
        return None
    axis = max(axes, key=lambda name: (not any(isinstance(value, str) for value in axes[name]), len(axes[name])))
    values = axes.pop(axis)
    if not any(isinstance(value, str) for value in values):
        values = tuple(sorted(values))
    cells: dict[str, dict[Value, Standing]] = {}
    for row in rows:
        if axis in row.axes:
            cells.setdefault(_name(row, rows, axes), {})[row.axes[axis]] = row
    return Pivot(axis, values, cells)


def varied_axes(rows: Sequence[Standing]) -> dict[str, tuple[Value, ...]]:
    """Return the axes with more than one value, and their values, in order of first appearance."""
    names = dict.fromkeys(name for row in rows for name in row.axes)
    axes = {name: tuple(dict.fromkeys(row.axes[name] for row in rows if name in row.axes)) for name in names}
    return {name: values for name, values in axes.items() if len(values) > 1}


def value_name(value: Value) -> str:
    """Format a value of an axis.

    Example:
        >>> [value_name(value) for value in (50, 0.0001, 1e-05, "digits")]
        ['50', '0.0001', '1e-05', 'digits']
    """
    return f"{value:g}" if isinstance(value, float) else str(value)


def _name(row: Standing, rows: Sequence[Standing], axes: Mapping[str, tuple[Value, ...]]) -> str:
    has_models = len({other.model for other in rows}) > 1 and not row.compares_models
    others = [f"{name} {value_name(row.axes[name])}" for name in axes if name in row.axes]
    return ", ".join([*([row.model] if has_models else []), row.name, *others])
