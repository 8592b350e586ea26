"""The table of parameters in a report."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lightning_clip.reports.formats import DASH, bar, count, number, percent, shorten, shorten_all
from lightning_clip.reports.summary import ParameterSummary

SHOWN_LAYERS = 12
"""How many parameters are listed: those with the largest share."""

FEWEST_SHOWN = 6
"""How many are listed at least, however many recurrent layers are listed above them."""

_BAR = 6
_NARROWEST_NAME = 12


@dataclass(frozen=True, slots=True)
class ParameterTable:
    """Norm and share of each parameter, as wide as the console.

    Attributes:
        layers: The parameters, the largest share first.
        most: How many are listed.
    """

    layers: Sequence[ParameterSummary]
    most: int = SHOWN_LAYERS

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = self.layers if len(self.layers) <= self.most + 1 else self.layers[: self.most]
        numbers = Measurement.get(console, options.update(max_width=10_000), _table(shown, name_width=0)).maximum
        rest = self.layers[len(shown) :]
        yield Text("  Norm by parameter (share of the squared total)", style="bold")
        name_width = max(_NARROWEST_NAME, options.max_width - 2 - numbers)
        yield Padding(_table(shown, name_width), (0, 0, 0 if rest else 1, 2))
        if rest:
            together = percent(sum(layer.share for layer in rest))
            yield Padding(Text(f"… and {count(len(rest))} more, {together} together", "dim"), (0, 0, 1, 2))


def _table(layers: Sequence[ParameterSummary], name_width: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column(shorten("Parameter", name_width), no_wrap=True)
    for heading in ("elements", "median", "max", "share"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=6)
    table.add_column("", no_wrap=True, width=_BAR)
    table.add_column("clipped", justify="right", no_wrap=True)
    for layer, name in zip(layers, shorten_all([layer.name for layer in layers], name_width), strict=True):
        table.add_row(
            Text(name),
            DASH if layer.elements is None else count(layer.elements),
            number(layer.median),
            number(layer.max),
            percent(layer.share),
            Text(bar(layer.share, _BAR), style="cyan"),
            percent(layer.clipped_fraction),
        )
    return table
