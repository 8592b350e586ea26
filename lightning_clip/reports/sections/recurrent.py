"""The section on recurrent layers: the paths and gates that their gradient comes through."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from lightning_clip.core.recurrent.names import PATHS, RecurrentName
from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.formats import bar, counted, percent, shorten_all
from lightning_clip.reports.recurrent_summary import RecurrentLayerSummary
from lightning_clip.reports.sections.tables import fitted, headline
from lightning_clip.reports.summary import Summary

SHOWN_LAYERS = 6
"""The number of recurrent layers listed: those with the largest share, in the order of the network."""

SHOWN_GATED = 4
"""The number of layers listed gate by gate."""

_GAP = 2
_SUM = len("> 99.9%")
_SHORTEST_BAR, _LONGEST_BAR = 5, 12
_NARROWEST_NAME = 12


def recurrent(evidence: Evidence) -> Iterator[RenderableType]:
    """Tables of the recurrent layers: the paths and gates that the gradient comes through."""
    if evidence.summary.recurrent:
        yield RecurrentTables(evidence.summary)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table.

    Attributes:
        name: Name of a layer, or of a group of layers.
        shares: The share in each column, in [0, 1].
        total: The sum of the shares; `None` where it is not shown.
        is_layer: Whether the line is about a single layer.
    """

    name: str
    shares: Mapping[str, float]
    total: float | None = None
    is_layer: bool = True


@dataclass(frozen=True, slots=True)
class RecurrentTables:
    """Shares of the paths and of the gates of each recurrent layer, as wide as the console.

    Attributes:
        summary: The run.
    """

    summary: Summary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        layers = self.summary.recurrent
        paths = [path for path in PATHS if any(path in layer.paths for layer in layers)]
        rows = [*_path_rows(layers), *self._others()]
        yield headline("Norm by recurrent layer (share of the squared total)")
        yield from fitted(console, options, _table(rows, paths, options.max_width))
        for gates in dict.fromkeys(tuple(layer.gates) for layer in layers if layer.gates):
            own = [layer for layer in layers if tuple(layer.gates) == gates]
            steps = counted(max(layer.measured for layer in own), "step")
            yield headline(f"Norm by gate (share of the layer's squared norm, mean of {steps})")
            yield from fitted(console, options, _table(list(_gate_rows(own)), gates, options.max_width))

    def _others(self) -> Iterator[Row]:
        others = [layer.share for layer in self.summary.parameters if RecurrentName.parse(layer.name) is None]
        if (
            others and len(self.summary.optimizers) == 1
        ):  # a share is relative to the total of the parameter's own optimizer
            yield Row("everything else", {}, sum(others), is_layer=False)


def listed_layers(summary: Summary) -> int:
    """The number of recurrent layers listed."""
    return len(_largest(summary.recurrent, SHOWN_LAYERS))


def _largest(layers: Sequence[RecurrentLayerSummary], most: int) -> list[RecurrentLayerSummary]:
    if len(layers) <= most + 1:
        return list(layers)
    chosen = sorted(layers, key=lambda layer: -layer.share)[:most]
    return [layer for layer in layers if layer in chosen]


def _path_rows(layers: Sequence[RecurrentLayerSummary]) -> Iterator[Row]:
    shown = _largest(layers, SHOWN_LAYERS)
    hidden = [layer for layer in layers if layer not in shown]
    yield from (Row(layer.name, layer.paths, layer.share) for layer in shown)
    if hidden:
        yield _sum_of(hidden, f"… {len(hidden)} more layers")
    if len(layers) > 1:
        yield _sum_of(layers, "all recurrent")


def _gate_rows(layers: Sequence[RecurrentLayerSummary]) -> Iterator[Row]:
    shown = _largest(layers, SHOWN_GATED)
    yield from (Row(layer.name, layer.gates) for layer in shown)
    if len(shown) < len(layers):
        yield Row(f"… {len(layers) - len(shown)} more layers", {}, is_layer=False)


def _sum_of(layers: Sequence[RecurrentLayerSummary], name: str) -> Row:
    sums = {path: sum(layer.paths.get(path, 0.0) for layer in layers) for path in PATHS}
    return Row(name, sums, sum(layer.share for layer in layers), is_layer=False)


def _table(rows: Sequence[Row], columns: Sequence[str], width: int) -> Table:
    has_sums = any(row.total is not None for row in rows)
    digits = max(len(percent(share)) for row in rows for share in row.shares.values())
    longest = max(len(row.name) for row in rows)
    shortest = max([_NARROWEST_NAME, *(len(row.name) for row in rows if not row.is_layer)])
    available = width - 2 - (_GAP + _SUM) * has_sums

    def needed(bar_width: int) -> int:
        return sum(_GAP + max(len(column), digits + 1 + bar_width) for column in columns)

    # Names are shortened to make room for short bars; longer bars get only the room that names leave.
    room = {bar_width: available - needed(bar_width) for bar_width in range(_LONGEST_BAR + 1)}
    fits = (b for b, left in room.items() if left >= (shortest if b <= _SHORTEST_BAR else longest))
    bar_width = max(fits, default=0)
    names = iter(shorten_all([row.name for row in rows if row.is_layer], max(shortest, room[bar_width])))
    table = Table(box=None, padding=(0, _GAP, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("Layer", no_wrap=True)
    for column in columns:
        table.add_column(column, no_wrap=True, min_width=digits + 1 + bar_width)
    if has_sums:
        table.add_column("total", justify="right", no_wrap=True, min_width=_SUM)
    for row in rows:
        table.add_row(
            Text(next(names) if row.is_layer else row.name),
            *(_cell(row.shares.get(column), digits, bar_width * row.is_layer) for column in columns),
            *([percent(row.total)] if has_sums else []),
            style="" if row.is_layer else "dim",
        )
    return table


def _cell(share: float | None, digits: int, bar_width: int) -> Text:
    if share is None:
        return Text("")
    return Text(f"{percent(share):>{digits}} ").append(bar(share, bar_width), style="cyan")
