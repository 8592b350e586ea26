"""`pairs`: names and values, one pair per line."""

from collections.abc import Iterable

from rich.padding import Padding
from rich.table import Table
from rich.text import Text


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
