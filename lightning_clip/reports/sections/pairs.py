"""Names and values, one below the other."""

from collections.abc import Iterable

from rich.padding import Padding
from rich.table import Table
from rich.text import Text


def pairs(rows: Iterable[tuple[str, str | Text]]) -> Padding:
    """A list of names and values.

    Args:
        rows: Name and value of each; long values are folded.

    Returns:
        The list, with an empty line below.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True, min_width=9)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), value if isinstance(value, Text) else Text(value))
    return Padding(table, (0, 0, 1, 2))
