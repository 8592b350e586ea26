"""The section on the worst steps: where they were, how high, what clipping did, and which gradient was the largest."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.reports.evidence import Evidence, OptimizerEvidence
from lightning_clip.reports.formats import DASH, TIMES, count, number, percent, shorten_all
from lightning_clip.reports.places import chunk_of
from lightning_clip.reports.sections.tables import fitted, headline
from lightning_clip.reports.spikes import FEWEST_BEFORE, running_medians

SHOWN_STEPS = 5
"""How many steps are listed, the worst first."""

SHOWN_FACTOR = 5.0
"""A step below so many times the median is like the others."""

_NARROWEST_NAME = 12


def worst_steps(evidence: Evidence) -> Iterator[RenderableType]:
    """The steps furthest above the median, and the first that was NaN or infinite; nothing where no step stands out."""
    for one in evidence.optimizers:
        rows = worst_of(one)
        if rows:
            latest = "" if one.is_whole else f" of the latest {count(len(one.records))}"
            title = f"{one.label}worst steps" if one.label else "Worst steps"
            yield WorstTable(f"{title}{latest}", rows, one.records)


@dataclass(frozen=True, slots=True)
class WorstStep:
    """One of the worst steps.

    Attributes:
        record: The step.
        factor: Its norm divided by the median of the norms before it; NaN if the norm is not finite.
    """

    record: StepRecord
    factor: float


def worst_of(one: OptimizerEvidence) -> list[WorstStep]:
    """Find the worst steps of an optimizer.

    Args:
        one: The optimizer.

    Returns:
        The first step that is NaN or infinite, if there is one, and the others, the worst first.
    """
    samples = [record for record in one.records if record.is_sample]
    medians = running_medians([record.norm_before for record in samples])
    medians[:FEWEST_BEFORE] = [one.part.median] * min(FEWEST_BEFORE, len(medians))  # too few norms before
    rated = [WorstStep(record, record.norm_before / median) for record, median in zip(samples, medians, strict=True)]
    high = sorted((step for step in rated if step.factor >= SHOWN_FACTOR), key=lambda step: -step.factor)
    bad = one.first_bad
    first = [WorstStep(bad, math.nan)] if bad is not None else []
    return [*first, *high][:SHOWN_STEPS]


@dataclass(frozen=True, slots=True)
class WorstTable:
    """The worst steps of an optimizer, as wide as the console.

    Attributes:
        title: The line above the table.
        steps: The steps.
        records: All steps of the optimizer.
    """

    title: str
    steps: Sequence[WorstStep]
    records: Sequence[StepRecord]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        numbers = Measurement.get(console, options.update(max_width=10_000), self._table(0)).maximum
        by = Text(f" ({TIMES} the median of the steps before)", style="dim not bold")
        yield headline(Text(self.title).append_text(by))
        width = max(_NARROWEST_NAME, options.max_width - 2 - numbers)
        yield from fitted(console, options, self._table(width), drop=("epoch", "share", "loss"))

    def _table(self, name_width: int) -> Table:
        placed = any(step.record.batch is not None for step in self.steps)
        named = any(step.record.top_param is not None for step in self.steps)
        names = shorten_all([step.record.top_param or "" for step in self.steps], name_width)
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        changed = any(step.record.skipped or step.record.clipped for step in self.steps)
        norm = "norm before → after" if changed else "norm"
        for heading in ("Step", *(("epoch", "batch") if placed else ()), norm, TIMES, "loss"):
            table.add_column(heading, justify="right", no_wrap=True)
        if named:
            heading = "largest gradient" if name_width >= len("largest gradient") else "largest"
            table.add_column(heading if name_width else "", no_wrap=True)
            table.add_column("share", justify="right", no_wrap=True)
        for step, name in zip(self.steps, names, strict=True):
            record = step.record
            place = (_whole(record.epoch), self._batch(record)) if placed else ()
            largest = (Text(name), percent(record.top_share)) if named else ()
            table.add_row(
                count(record.step), *place, _norms(record), number(step.factor), _value(record.loss), *largest
            )
        return table

    def _batch(self, record: StepRecord) -> str:
        if record.batch is None or record.first_batch is None:
            return DASH
        if record.first_batch != record.batch:
            return f"{count(record.first_batch)}{DASH}{count(record.batch)}"
        chunk = chunk_of(record, self.records)
        return count(record.batch) + (f", chunk {count(chunk)}" if chunk is not None else "")


def _whole(value: int | None) -> str:
    return DASH if value is None else count(value)


def _value(value: float | None) -> str:
    return "NaN" if value is not None and math.isnan(value) else number(value)


def _norms(record: StepRecord) -> Text:
    style = "" if record.finite else "red"
    if record.skipped:
        return Text(f"{_value(record.norm_before)} → skipped", style)
    if not record.clipped:
        return Text(_value(record.norm_before), style)
    return Text(f"{number(record.norm_before)} → {number(record.norm_after)}", style)
