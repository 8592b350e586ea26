"""The section on parameters: those with the largest share of the norm, and modules where there are many."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.formats import DASH, bar, count, number, percent, shorten, shorten_all
from lightning_clip.reports.modules import MANY_PARAMETERS, ModuleSummary, by_module
from lightning_clip.reports.sections.recurrent import listed_layers
from lightning_clip.reports.sections.tables import fitted, headline
from lightning_clip.reports.summary import ParameterSummary

SHOWN_PARAMETERS = 12
"""The number of parameters listed: those with the largest share."""

FEWEST_SHOWN = 6
"""The number listed at least, however many recurrent layers are listed above them."""

_BAR = 6
_NARROWEST_NAME = 12


def parameters(evidence: Evidence) -> Iterator[RenderableType]:
    """Norm and share of the parameters with the largest share; of many parameters, the share of each module first."""
    summary = evidence.summary
    if not summary.parameters:
        return
    most = evidence.max_parameters or max(FEWEST_SHOWN, SHOWN_PARAMETERS - listed_layers(summary))
    if len(summary.parameters) > MANY_PARAMETERS and len(summary.optimizers) == 1:  # shares are those of one total
        modules = by_module(summary.parameters, at_most=SHOWN_PARAMETERS)
        if len(modules) > 1:
            yield ModuleTable(modules)
    whose = " of its optimizer" if len(summary.optimizers) > 1 else ""
    yield ParameterTable(summary.parameters, most, f"Norm by parameter (share of the squared total{whose})")


@dataclass(frozen=True, slots=True)
class ModuleTable:
    """The share of each module, as wide as the console.

    Attributes:
        modules: The modules, the largest share first.
    """

    modules: Sequence[ModuleSummary]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = self.modules if len(self.modules) <= SHOWN_PARAMETERS + 1 else self.modules[:SHOWN_PARAMETERS]
        numbers = Measurement.get(console, options.update(max_width=10_000), self._table(shown, 0)).maximum
        rest = self.modules[len(shown) :]
        together = percent(sum(one.share for one in rest))
        yield headline("Norm by module (share of the squared total)")
        table = self._table(shown, max(_NARROWEST_NAME, options.max_width - 2 - numbers))
        notes = [f"… and {count(len(rest))} more, {together} combined"] if rest else []
        yield from fitted(console, options, table, drop=("elements", "parameters"), notes=notes)

    def _table(self, shown: Sequence[ModuleSummary], name_width: int) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        table.add_column(shorten("Module", name_width), no_wrap=True)
        for heading in ("parameters", "elements", "share"):
            table.add_column(heading, justify="right", no_wrap=True, min_width=6)
        table.add_column("", no_wrap=True, width=_BAR)
        for one, name in zip(shown, shorten_all([one.name for one in shown], name_width), strict=True):
            elements = DASH if one.elements is None else count(one.elements)
            share = Text(bar(one.share, _BAR), style="cyan")
            table.add_row(Text(name), count(one.parameters), elements, percent(one.share), share)
        return table


@dataclass(frozen=True, slots=True)
class ParameterTable:
    """Norm and share of each parameter, as wide as the console.

    Attributes:
        parameters: The parameters, the largest share first.
        most: The number of parameters to list.
        title: The line above the table.
    """

    parameters: Sequence[ParameterSummary]
    most: int = SHOWN_PARAMETERS
    title: str = "Norm by parameter (share of the squared total)"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = self.parameters if len(self.parameters) <= self.most + 1 else self.parameters[: self.most]
        numbers = Measurement.get(console, options.update(max_width=10_000), _table(shown, name_width=0)).maximum
        rest = self.parameters[len(shown) :]
        yield headline(self.title)
        name_width = max(_NARROWEST_NAME, options.max_width - 2 - numbers)
        together = percent(sum(one.share for one in rest))
        notes = [f"… and {count(len(rest))} more, {together} combined"] if rest else []
        drop = ("elements", "clipped", "median", "max")
        yield from fitted(console, options, _table(shown, name_width), drop=drop, notes=notes)


def _table(parameters: Sequence[ParameterSummary], name_width: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column(shorten("Parameter", name_width), no_wrap=True)
    for heading in ("elements", "median", "max", "share"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=4)
    table.add_column("", no_wrap=True, width=_BAR)
    table.add_column("clipped", justify="right", no_wrap=True)
    for one, name in zip(parameters, shorten_all([one.name for one in parameters], name_width), strict=True):
        table.add_row(
            Text(name),
            DASH if one.elements is None else count(one.elements),
            number(one.median),
            number(one.max),
            percent(one.share),
            Text(bar(one.share, _BAR), style="cyan"),
            percent(one.clipped_fraction),
        )
    return table
