"""The section on each optimizer: the norm over the run, its distribution, what clipping did."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.formats import count, counted, literal, number, percent
from lightning_clip.reports.sections.chart import BAD, SHADED, SOLID, SWITCH, Role, draw_chart
from lightning_clip.reports.sections.tables import pairs
from lightning_clip.reports.summary import STEP_LIMITER, UNCLIPPED, OptimizerSummary, Summary

_STYLES: dict[Role, str] = {
    "axis": "dim",
    "after": "cyan",
    "before": "yellow",
    "bad": "bold red",
    "switch": "bold magenta",
}


def optimizers(evidence: Evidence) -> Iterator[RenderableType]:
    """What happened to the gradients of each optimizer: chart, distribution and verdict."""
    summary = evidence.summary
    for part in summary.optimizers:
        if len(summary.optimizers) > 1:
            yield Text(f"  Optimizer {part.optimizer}", style="bold underline")
        yield ChartView(part, _switches(summary))
        yield _distribution(part)
        yield pairs(_verdict(part))


@dataclass(frozen=True, slots=True)
class ChartView:
    """The norm over the run, as wide as the console.

    Attributes:
        part: The numbers of the optimizer.
        switches: Where the strategy was switched, each in [0, 1] of the run.
    """

    part: OptimizerSummary
    switches: Sequence[float] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        part = self.part
        chart = draw_chart(
            part.before, part.after, steps=part.steps + part.empty, width=options.max_width - 3, switches=self.switches
        )
        every = f", each column the peak of {count(chart.steps_per_column)} steps" if chart.steps_per_column > 1 else ""
        yield Text(f"  Total norm of the gradients (log scale{every})", style="bold")
        for line in chart.lines:
            yield Text.assemble("  ", *((text, _STYLES[role]) for text, role in line), no_wrap=True)
        yield Padding(self._legend(chart.has_cut, chart.has_bad), (0, 0, 1, 2))

    def _legend(self, has_cut: bool, has_bad: bool) -> Text:
        pieces: list[tuple[str, str, Role]] = [(SOLID, "after clipping", "after")]
        if has_cut:
            pieces.append((SHADED, "before clipping, cut off", "before"))
        elif self.part.verdict is UNCLIPPED:
            pieces = [(SOLID, "not clipped: before and after are the same", "after")]
        else:
            pieces = [(SOLID, "before and after clipping: the same", "after")]
        if has_bad:
            pieces.append((BAD, "NaN or infinite", "bad"))
        if self.switches:
            pieces.append((SWITCH, "switch", "switch"))
        legend = Text()
        for glyph, words, role in pieces:
            legend.append(glyph, style=_STYLES[role]).append(f" {words}   ")
        legend.rstrip()
        return legend


def _distribution(part: OptimizerSummary) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    values = {"min": part.min, "median": part.median, "P90": part.p90, "P99": part.p99, "max": part.max}
    table.add_column("", no_wrap=True)
    for name in values:
        table.add_column(name, justify="right", no_wrap=True, min_width=8)
    table.add_row(
        "Norm" if part.verdict is UNCLIPPED else "Norm before clipping", *(number(value) for value in values.values())
    )
    return Padding(table, (0, 0, 1, 2))


def _verdict(part: OptimizerSummary) -> Iterator[tuple[str, Text]]:
    finite = part.steps - part.nonfinite
    text = Text()
    if part.verdict is not UNCLIPPED:
        text.append(f"clipped {count(part.clipped)} of {counted(finite, 'step')} ({percent(part.clipped_fraction)})")
        text.append(f", mean coefficient {number(part.mean_coef)}: " if part.mean_coef is not None else ": ")
    text.append(part.verdict.name, style="bold").append(f", {part.verdict.meaning}")
    yield "Clipping", text
    yield "Bad steps", _bad_steps(part)
    if part.empty:
        yield "No gradient", Text(f"{counted(part.empty, 'step')}, not counted above")
    if len(part.strategies) > 1:
        shares = ", ".join(f"{label} for {counted(steps, 'step')}" for label, steps in part.strategies.items())
        yield "Strategies", Text(shares)
    if part.suggested_threshold is not None:
        yield "Threshold", Text(_suggestion(part, part.suggested_threshold))


def _suggestion(part: OptimizerSummary, threshold: float) -> str:
    if part.verdict is STEP_LIMITER:
        return f"the P90 is {literal(threshold)}: one norm in ten was above it"
    return f"the P90 is {literal(threshold)}: NormClip({literal(threshold)}) would clip about one step in ten"


def _bad_steps(part: OptimizerSummary) -> Text:
    if not part.nonfinite and not part.skipped:
        return Text("none: every norm was finite and no step was skipped")
    first = f", the first at step {count(part.first_nonfinite)}" if part.first_nonfinite is not None else ""
    style = "red" if part.nonfinite > part.skipped else "yellow"
    return Text(f"{count(part.nonfinite)} NaN or infinite{first}; {count(part.skipped)} skipped", style=style)


def _switches(summary: Summary) -> list[float]:
    """Where in the run the strategy was switched, each in [0, 1]; steps are counted over all optimizers."""
    steps = summary.steps if summary.steps else 1
    return [event.step / steps for event in summary.events if event.kind == "switch" and event.step <= steps]
