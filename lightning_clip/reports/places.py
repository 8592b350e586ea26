"""Where in the data a step was made, as people read it: `epoch 2, batch 11`."""

from collections.abc import Sequence

from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.reports.formats import DASH, count


def batches_of(first: StepRecord, last: StepRecord | None = None) -> str:
    """The batches of one step or of several: `batch 11`, `batches 12–15`; empty if they are unknown.

    Args:
        first: The first step.
        last: The last step, in the same epoch; the first by default.
    """
    last = last or first
    if first.first_batch is None or last.batch is None:
        return ""
    if first.first_batch == last.batch:
        return f"batch {count(last.batch)}"
    return f"batches {count(first.first_batch)}{DASH}{count(last.batch)}"


def place_of(record: StepRecord) -> str:
    """The epoch and the batches of a step: `epoch 2, batch 11`; empty if they are unknown."""
    batches = batches_of(record)
    return f"epoch {count(record.epoch)}, {batches}" if batches and record.epoch is not None else ""


def in_brackets(record: StepRecord | None) -> str:
    """The same, to follow a step number: ` (epoch 2, batch 11)`; empty if it is unknown."""
    place = place_of(record) if record is not None else ""
    return f" ({place})" if place else ""


def steps_from_to(first: StepRecord, last: StepRecord) -> str:
    """A range of steps: `step 7`, `steps 0–2`."""
    if first.step == last.step:
        return f"step {count(first.step)}"
    return f"steps {count(first.step)}{DASH}{count(last.step)}"


def places_from_to(first: StepRecord, last: StepRecord) -> str:
    """The place of a range of steps: `epoch 0, batches 0–2`; empty if it is unknown."""
    if first.epoch is None or last.epoch is None:
        return ""
    if first.epoch != last.epoch:
        return f"{place_of(first)} to {place_of(last)}"
    return f"epoch {count(first.epoch)}, {batches_of(first, last)}"


def chunk_of(record: StepRecord, records: Sequence[StepRecord]) -> int | None:
    """Which of several steps in one batch a step was, from 0, as in truncated BPTT; `None` if the batch made one step.

    Args:
        record: The step.
        records: All steps of its optimizer.
    """
    if record.batch is None:
        return None
    same = [one.step for one in records if (one.epoch, one.batch) == (record.epoch, record.batch)]
    return same.index(record.step) if len(same) > 1 else None
