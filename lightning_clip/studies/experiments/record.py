"""`write_record`: the record of a loop without a Trainer, where `lightning-clip report` finds it."""

from pathlib import Path

from lightning_clip.core.record.history import History
from lightning_clip.core.record.run_info import RunInfo
from lightning_clip.core.record.step_buffer import StepBuffer
from lightning_clip.sinks.jsonl import JsonlSink


def write_record(path: Path, run: RunInfo, events: StepBuffer) -> History:
    """Write what happened in a run, step by step.

    Args:
        path: The file.
        run: What was run, with its duration.
        events: All its steps, not yet read.

    Returns:
        The history of the run.
    """
    records, history, sink = events.flush(), History(), JsonlSink(path)
    history.extend(records)
    sink.open(run)
    sink.write(records)
    sink.close(run, history.parameters)
    return history


def clipped_fraction(history: History) -> float:
    """Share of the finite steps at which clipping bound, in [0, 1]."""
    totals = history.aggregates.values()
    finite_steps = sum(total.steps - total.nonfinite for total in totals)
    return sum(total.clipped for total in totals) / max(finite_steps, 1)
