"""The section on each optimizer: the norm over the run, its distribution, what clipping did."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.formats import count, counted, literal, number, percent
from lightning_clip.reports.sections.chart import BAD, LIMIT, LINE, SHADED, SWITCH, Chart, Role, Segment, draw_chart
from lightning_clip.reports.sections.tables import fitted, headline, pairs
from lightning_clip.reports.summary import STEP_LIMITER, UNCLIPPED, OptimizerSummary, Summary
from lightning_clip.reports.thresholds import thresholds_of

_STYLES: dict[Role, str] = {
    "axis": "dim",
    "norm": "cyan",
    "cut": "yellow",
    "threshold": "magenta",
    "bad": "bold red",
    "switch": "bold magenta",
}


def optimizers(evidence: Evidence) -> Iterator[RenderableType]:
    """What happened to the gradients of each optimizer: chart, distribution and verdict."""
    summary = evidence.summary
    for part, thresholds in zip(summary.optimizers, map(thresholds_of, evidence.optimizers), strict=True):
        if len(summary.optimizers) > 1:
            yield Text("  ").append(evidence.run.name_of(part.optimizer), style="bold underline")
        yield ChartView(part, _switches(summary), thresholds)
        yield NormTable(part)
        yield pairs(_verdict(part, is_only=len(summary.optimizers) == 1))


@dataclass(frozen=True, slots=True)
class ChartView:
    """The norm over the run, as wide as the console.

    Attributes:
        part: The numbers of the optimizer.
        switches: Where the strategy was switched, each in [0, 1] of the run.
        thresholds: The threshold in each of the stretches of `part.before`; NaN where it is unknown.
    """

    part: OptimizerSummary
    switches: Sequence[float] = ()
    thresholds: Sequence[float] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        part = self.part
        chart = draw_chart(
            part.before,
            part.after,
            steps=part.steps + part.empty,
            width=options.max_width - 3,
            switches=self.switches,
            thresholds=self.thresholds,
        )
        every = f", each column the peak of {count(chart.steps_per_column)} steps" if chart.steps_per_column > 1 else ""
        yield headline(f"Total norm of the gradients (log scale{every})")
        for line in chart.lines:
            yield Text.assemble("  ", *((text, _STYLES[role]) for text, role in line), no_wrap=True)
        yield Padding(self._legend(chart, options.max_width), (0, 0, 1, 2))

    def _legend(self, chart: Chart, width: int) -> Text:
        unclipped = "not clipped" if self.part.verdict is UNCLIPPED else "nothing was cut off"
        norm = "norm before clipping" if chart.has_cut else f"norm, {unclipped}"
        uncut: list[Segment] = [(LINE, "norm")] if chart.has_uncut or not chart.has_cut else []
        cut: list[Segment] = [(LINE, "cut")] if chart.has_cut else []
        pieces: list[tuple[list[Segment], str]] = [([*uncut, *cut], norm)]
        if chart.has_cut:
            pieces.append(([(SHADED, "cut")], "cut off"))
        if chart.has_threshold:
            pieces.append(([(LIMIT * 2, "threshold")], "threshold"))
        if chart.has_bad:
            pieces.append(([(BAD, "bad")], "NaN or infinite"))
        if self.switches:
            pieces.append(([(SWITCH, "switch")], "switch"))
        lines = [Text()]
        for glyphs, words in pieces:
            piece = Text.assemble(*((glyph, _STYLES[role]) for glyph, role in glyphs), f" {words}")
            if lines[-1] and len(lines[-1]) + 3 + len(piece) > width - 2:
                lines.append(Text())
            lines[-1].append("   " if lines[-1] else "").append_text(piece)
        return Text("\n").join(lines)


@dataclass(frozen=True, slots=True)
class NormTable:
    """The distribution of the norms in one line.

    Attributes:
        part: The numbers of the optimizer.
    """

    part: OptimizerSummary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        part = self.part
        values = {"min": part.min, "median": part.median, "P90": part.p90, "P99": part.p99, "max": part.max}
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("", no_wrap=True)
        for name in values:
            table.add_column(name, justify="right", no_wrap=True, min_width=8)
        name = "Norm" if part.verdict is UNCLIPPED else "Norm before clipping"
        table.add_row(name, *(number(value) for value in values.values()))
        yield from fitted(console, options, table, drop=("P90", "min", "P99"))


def _verdict(part: OptimizerSummary, *, is_only: bool) -> Iterator[tuple[str, Text]]:
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
        yield "Threshold", Text(_suggestion(part, part.suggested_threshold, is_only))


def _suggestion(part: OptimizerSummary, threshold: float, is_only: bool) -> str:
    if part.verdict is STEP_LIMITER:
        return f"the P90 is {number(part.p90)}: one norm in ten was above it"
    limit = f"NormClip({literal(threshold)})" if is_only else f"a limit of {literal(threshold)} for this optimizer"
    return f"the P90 is {literal(threshold)}: {limit} would clip about one step in ten"


def _bad_steps(part: OptimizerSummary) -> Text:
    if not part.nonfinite and not part.skipped:
        return Text("none: every norm was finite and no step was skipped")
    first = f", the first at step {count(part.first_nonfinite)}" if part.first_nonfinite is not None else ""
    style = "red" if part.nonfinite > part.skipped else "yellow"
    bad = f"{count(part.nonfinite)} NaN or infinite{first}" if part.nonfinite else "none NaN or infinite"
    return Text(f"{bad}; {count(part.skipped)} skipped", style=style)


def _switches(summary: Summary) -> list[float]:
    """Where in the run the strategy was switched, each in [0, 1]; steps are counted over all optimizers."""
    steps = summary.steps if summary.steps else 1
    return [event.step / steps for event in summary.events if event.kind == "switch" and event.step <= steps]
