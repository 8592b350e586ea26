"""The rule about spikes: how many, how high, in which batches, and what clipping did to them."""

from collections.abc import Iterator, Sequence

from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.reports.diagnosis.lines import Lines, clip_lines
from lightning_clip.reports.diagnosis.rule import Finding, Severity
from lightning_clip.reports.evidence import Evidence, OptimizerEvidence
from lightning_clip.reports.formats import DASH, count, counted, listed, number
from lightning_clip.reports.places import chunk_of, place_of
from lightning_clip.reports.spikes import Repetition, Spike
from lightning_clip.reports.summary import UNCLIPPED

HIGH_FACTOR = 100.0
"""A spike this far above the median is worth a warning by itself, unless clipping cut it off."""

LISTED_SPIKES = 5
"""How many spikes a finding names, the highest first."""


def spikes(evidence: Evidence) -> Iterator[Finding]:
    """Single steps far above the others, and the batch that they come from."""
    for one in evidence.optimizers:
        found, repetition = one.spikes, one.repetition
        if not found:
            continue
        factors = sorted(spike.factor for spike in found)
        height = f"{number(factors[-1])} times the median of the steps before"
        if len(found) > 1:
            height = f"{number(factors[0])} to {number(factors[-1])} times the median of the steps before"
        latest = "" if one.is_whole else f" in the latest {counted(len(one.records), 'step')}"
        repeated = repetition is not None and bool(repetition.batches or repetition.of_epochs)
        held = all(spike.record.clipped or spike.record.skipped for spike in found)
        loud = factors[-1] >= HIGH_FACTOR
        if held and not loud and not repeated:
            continue  # what clipping is for
        remedy, lines = _remedy(evidence, one)
        yield Finding(
            Severity.WARNING if repeated or (loud and not held) else Severity.NOTE,
            f"{one.label}{counted(len(found), 'spike')}{latest}, {height}{_pattern(repetition)}",
            f"{_worst(one)} {_clipped(one)}",
            remedy,
            kind="spikes",
            unless=("explosion", "exploded-early"),
            code=lines,
        )


def _pattern(repetition: Repetition | None) -> str:
    if repetition is None:
        return ""
    every = f"every {count(repetition.every)} steps" if repetition.every is not None else ""
    if repetition.batches and repetition.epochs == repetition.of_epochs:
        return f": {f'{every}, ' if every else ''}{repetition.batches} of each epoch"
    if repetition.batches:
        epochs = f"{count(repetition.epochs)} of {count(repetition.of_epochs)} epochs"
        return f": {count(repetition.spikes)} are {repetition.batches}, in {epochs}"
    if repetition.of_epochs:
        return f": {f'{every}, ' if every else ''}one in each epoch"
    return f": {every}"


def _worst(one: OptimizerEvidence) -> str:
    highest = sorted(one.spikes, key=lambda spike: -spike.factor)[:LISTED_SPIKES]
    named = [_named(spike, one) for spike in sorted(highest, key=lambda spike: spike.record.step)]
    text = listed(named, at_most=LISTED_SPIKES)
    return f"The worst: {text}." if len(one.spikes) > LISTED_SPIKES else f"{text[0].upper()}{text[1:]}."


def _named(spike: Spike, one: OptimizerEvidence) -> str:
    chunk = chunk_of(spike.record, one.records)
    place = place_of(spike.record) + (f", chunk {count(chunk)}" if chunk is not None else "")
    return f"step {count(spike.record.step)} ({f'{place}; ' if place else ''}{number(spike.record.norm_before)})"


def _clipped(one: OptimizerEvidence) -> str:
    """What became of the spikes: skipped, shortened, or neither."""
    records = [spike.record for spike in one.spikes]
    skipped = [record for record in records if record.skipped]
    clipped = [record for record in records if record.clipped and not record.skipped]
    passed = len(records) - len(skipped) - len(clipped)
    after = sorted(record.norm_after for record in clipped)
    to = ""
    if after:
        low, high = number(after[0]), number(after[-1])
        to = f" to a norm of {low}" if low == high else f" to norms of {low}{DASH}{high}"
    fates = {
        f"{_was(clipped)} clipped{to}": len(clipped),
        f"{_was(skipped)} skipped": len(skipped),
        "reached the optimizer at full length": passed,
    }
    found = [fate for fate, many in fates.items() if many]
    if len(found) == 1:
        return f"{'It' if len(records) == 1 else 'All of them'} {found[0]}."
    return f"Of these, {listed([f'{count(fates[fate])} {fate}' for fate in found])}."


def _was(records: Sequence[StepRecord]) -> str:
    return "was" if len(records) == 1 else "were"


def _remedy(evidence: Evidence, one: OptimizerEvidence) -> tuple[str, Lines]:
    repetition = one.repetition
    clip = clip_lines(evidence) if one.part.verdict is UNCLIPPED else ()
    until = "Until that is fixed, clip:" if clip else ""
    if repetition is not None and repetition.batches:
        return (
            f"It is the same data each time: look at the inputs and targets of {repetition.batches}. {until}".rstrip(),
            clip,
        )
    if repetition is not None and repetition.of_epochs:
        return (
            "One spike in each epoch, in another batch each time, is one bad sample in shuffled data: look for an "
            f"input or target far outside the others. {until}"
        ).rstrip(), clip
    these = "these batches" if len(one.spikes) > 1 else "this batch"
    return f"Look at the inputs and targets of {these}. {until}".rstrip(), clip
