"""Records of imaginary runs, written to disk as a callback does."""

from pathlib import Path

import numpy as np

from lightning_clip.core import Event, History, Measurement, RunInfo, StepRecord
from lightning_clip.sinks import JsonlSink
from tests.support.recorded import record

RUN = RunInfo("MLPRegressor", "NormClip(max_norm=1.0)", "SGD(lr=0.01)", {"w": 20, "b": 5}, None, "one")
SHARES = {"w": 0.8, "b": 0.2}


def write(
    path: Path,
    *sessions: list[StepRecord],
    events: tuple[Event, ...] = (),
    measurements: tuple[Measurement, ...] = (),
) -> History:
    """Write sessions as a callback does, and return the history that the callback would have."""
    history = History()
    for records in sessions:
        sink = JsonlSink(path)
        sink.open(RUN)
        for start in range(0, len(records), 50):
            batch = records[start : start + 50]
            history.extend(batch)
            sink.write(batch)
        for event in events:
            history.events.append(event)
            sink.event(event)
        for measurement in measurements:
            history.measurements.add(measurement)
            sink.measurement(measurement)
        sink.close(RunInfo(seconds=2.5), history.parameters)
    return history


def records(start: int, stop: int, *, level: float = 1.0) -> list[StepRecord]:
    rng = np.random.default_rng(start)
    return [record(step, level * float(rng.lognormal()), max_norm=1.0, shares=SHARES) for step in range(start, stop)]
