"""`NamedTable`, `headline`, `pairs`, `fitted`: layouts that sections share, and how a table fits a narrow console."""

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lightning_clip.reports.formats import count, listed, shorten, shorten_all

SHOWN_ROWS = 16
"""The number of rows listed: the most important ones."""

_NARROWEST_NAME = 12


@dataclass(frozen=True, slots=True)
class NamedTable:
    """A table whose rows begin with a name; names are shortened on a narrow console and not repeated.

    Attributes:
        title: The line above the table.
        name: The heading of the names.
        headings: The headings of the cells.
        rows: The name and the cells of each row.
        importance: The importance of each row: of too many rows, the least important are hidden; by default the last.
        rest: What to say about the hidden rows.
        left: The headings of columns that hold words and are aligned left.
        notes: Lines below the table.
    """

    title: str
    name: str
    headings: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str | Text]]]
    importance: Sequence[float] = ()
    rest: str = ""
    left: Sequence[str] = ()
    notes: Sequence[str] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = self._shown()
        numbers = Measurement.get(console, options.update(max_width=10_000), self._table(shown, 0)).maximum
        left_out = len(self.rows) - len(shown)
        notes = [*([f"… and {count(left_out)} more{self.rest}"] if left_out else []), *self.notes]
        yield headline(self.title)
        width = max(_NARROWEST_NAME, options.max_width - 2 - numbers)
        yield from fitted(console, options, self._table(shown, width), notes=notes)

    def _shown(self) -> Sequence[tuple[str, Sequence[str | Text]]]:
        if len(self.rows) <= SHOWN_ROWS + 1:
            return self.rows
        importance = self.importance or range(len(self.rows), 0, -1)
        first = sorted(range(len(self.rows)), key=lambda row: -importance[row])[:SHOWN_ROWS]
        return [self.rows[row] for row in sorted(first)]

    def _table(self, rows: Sequence[tuple[str, Sequence[str | Text]]], name_width: int) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        table.add_column(shorten(self.name, name_width), no_wrap=True)
        for heading in self.headings:
            table.add_column(heading, justify="left" if heading in self.left else "right", no_wrap=True)
        before = ""
        for (name, cells), short in zip(rows, shorten_all([name for name, _ in rows], name_width), strict=True):
            table.add_row(
                Text("" if name == before else short),
                *(cell if isinstance(cell, Text) else Text(cell) for cell in cells),
            )
            before = name
        return table


def headline(text: str | Text) -> Padding:
    """The line above a part of a section, indented also where it wraps.

    Args:
        text: What the part shows.
    """
    return Padding(Text("", style="bold").append(text), (0, 0, 0, 2))


def pairs(rows: Iterable[tuple[str, str | Text]]) -> Padding:
    """A list of names and values.

    Args:
        rows: The names and values; long values wrap.

    Returns:
        The list, followed by an empty line.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True, min_width=9)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), value if isinstance(value, Text) else Text(value))
    return Padding(table, (0, 0, 1, 2))


def fitted(
    console: Console, options: ConsoleOptions, table: Table, *, drop: Sequence[str] = (), notes: Sequence[str] = ()
) -> Iterator[RenderableType]:
    """Show a table without the columns for which there is no room, and say which these are.

    Args:
        console: The console.
        options: Its options.
        table: The table; its first column is always shown.
        drop: The headings of the columns that are left out first, in this order; then come those at the right.
        notes: Lines below the table.

    Yields:
        The table, indented, and what is below it, followed by an empty line.
    """
    whole, width = table, options.max_width - 2
    headings = [str(column.header).strip() for column in table.columns]
    order = [i for name in ("", *drop) for i in range(1, len(headings)) if headings[i] == name]
    kept = list(range(len(headings)))
    for position in dict.fromkeys([*order, *kept[:0:-1]]):
        if Measurement.get(console, options.update(max_width=10_000), table).maximum <= width:
            break
        kept.remove(position)
        table = copy(whole)
        table.columns = [replace(whole.columns[i], _index=place) for place, i in enumerate(kept)]
    hidden = [name for i, name in enumerate(headings) if i not in kept and name]
    lines = [*notes, *([f"Hidden at this width: {listed(hidden, at_most=len(hidden))}"] if hidden else [])]
    yield Padding(table, (0, 0, 0 if lines else 1, 2))
    if lines:
        yield Padding(Text("\n".join(lines), "dim"), (0, 0, 1, 2))
