import io
import math

import numpy as np
import pytest
import torch

from lightning_clip import NormClip
from lightning_clip.core import Event, History, Measurement, StepBuffer, StepRecord
from lightning_clip.core.record.aggregate import Aggregate
from lightning_clip.core.record.step_record import ParamNorms
from tests.support.scripted import feed, parameters, scripted_steps, scripted_weights


def record(step: int, norm: float = 4.0, optimizer: int = 0, **changes: object) -> StepRecord:
    values: dict[str, object] = {
        "norm_after": min(norm, 1.0),
        "threshold": 1.0,
        "clip_coef": min(1.0, 1.0 / norm) if norm else 1.0,
        "clipped": norm > 1.0,
        "finite": math.isfinite(norm),
        "skipped": False,
        "params": ParamNorms(("w", "b"), np.array([0.6 * norm, 0.8 * norm]), np.array([norm > 1.0, False])),
    }
    return StepRecord(step, optimizer, "NormClip(1.0)", norm, **(values | changes))


def written_and_read(state: dict) -> dict:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def as_text(value: object) -> object:
    if isinstance(value, dict):
        return {key: as_text(one) for key, one in value.items()}
    return repr(value.tolist() if isinstance(value, torch.Tensor) else value)


def scripted_records(steps: int) -> list[StepRecord]:
    params, strategy, buffer = parameters(scripted_weights()), NormClip(0.5), StepBuffer()
    for step, grads in enumerate(scripted_steps(steps)):
        buffer.add(feed(strategy, params, grads, step=step))
    return buffer.flush()


def test_the_window_is_bounded_and_the_totals_cover_all_steps():
    """Old records are dropped, but the counts include them."""
    history = History(window=10)
    for step in range(100):
        history.extend([record(step)])
    assert len(history) == 10
    assert history[0].step == 90
    assert [r.step for r in history][-1] == 99
    assert history.aggregates[0].steps == 100


def test_memory_does_not_grow_with_the_run():
    """Once the window is full, a saved history of many steps is as large as one of few."""
    sizes = []
    history = History(window=50)
    rng = np.random.default_rng(0)
    for part in range(4):
        history.extend([record(part * 5000 + k, norm) for k, norm in enumerate(rng.lognormal(size=5000))])
        file = io.BytesIO()
        torch.save(history.state_dict(), file)
        sizes.append(file.tell())
        assert len(history.records) == 50
        assert len(history.aggregates[0].before.values()) <= 240
    assert sizes[-1] < 1.5 * sizes[0]


def test_norms_of_parameters_are_counted_and_then_dropped():
    """Only the latest record in the window has parameter norms, and the caller's records keep theirs."""
    history, given = History(), [record(0), record(1)]
    history.extend(given)
    history.extend([record(2)])
    assert [one.params is None for one in history] == [True, True, False]
    assert history.parameters.names == ["w", "b"]
    assert all(one.params is not None for one in given)


@pytest.mark.parametrize("portion", [1, 7, 999])
def test_totals_do_not_depend_on_when_they_are_asked_for(portion):
    """Steps are counted a thousand at a time; a total that is asked for earlier is complete, and ends the same."""
    rng = np.random.default_rng(0)
    norms = [math.nan if k % 500 == 3 else norm for k, norm in enumerate(rng.lognormal(size=2_500).tolist())]
    records = [record(k, norm, optimizer=k % 2, skipped=k % 70 == 0) for k, norm in enumerate(norms)]
    once, often = History(), History()
    once.extend(records)
    for start in range(0, len(records), portion):
        often.extend(records[start : start + portion])
        if start % (50 * portion) == 0:
            seen = records[: start + portion]
            assert sum(total.steps for total in often.aggregates.values()) == len(seen)
            assert often.parameters.steps.tolist() == [sum(one.finite for one in seen)] * 2
    assert as_text(often.state_dict()) == as_text(once.state_dict())


def test_bad_steps_are_those_of_the_totals():
    """Skipped steps and norms that are NaN or infinite are known at each step; a step without gradient is neither."""
    history = History()
    for step in range(2_300):
        norm = (1.0, math.nan, 0.0, math.inf)[step % 4]
        history.extend([record(step, norm, optimizer=step % 3 % 2, skipped=step % 5 == 0)])
        if step % 400 == 399:
            known = [history.bad_steps(optimizer) for optimizer in (0, 1, 2)]
            totals = [history.aggregates.get(optimizer, Aggregate()) for optimizer in (0, 1, 2)]
            assert known == [(total.skipped, total.nonfinite) for total in totals]
    assert history.bad_steps(0)[0] > 100


def test_a_column_is_an_array():
    """A column has the values in the order of the records."""
    history = History()
    history.extend([record(k, norm=float(k + 1)) for k in range(3)])
    assert history.column("norm_before").tolist() == [1.0, 2.0, 3.0]
    assert history.column("clipped").dtype == bool


def test_optimizers_are_counted_separately():
    """Two alternating optimizers share one window and have separate totals."""
    history = History()
    history.extend([record(k, norm=(1.0, 10.0)[k % 2], optimizer=k % 2) for k in range(20)])
    assert len(history) == 20
    assert [history.aggregates[i].steps for i in (0, 1)] == [10, 10]
    assert [history.aggregates[i].mean for i in (0, 1)] == [1.0, 10.0]
    assert [history.aggregates[i].clipped for i in (0, 1)] == [0, 10]


def test_a_restored_history_continues_without_a_difference():
    """A history that was saved, loaded with `weights_only=True` and continued equals one that never stopped."""
    records = scripted_records(300)
    whole, first = History(window=60), History(window=60)
    whole.extend(records)
    whole.events.append(Event(7, "switch", "to NormClip(0.1)", {"from": "NoClip()", "z": 4.5}))
    first.extend(records[:130])
    first.events.append(Event(7, "switch", "to NormClip(0.1)", {"from": "NoClip()", "z": 4.5}))
    second = History(window=60)
    second.load_state_dict(written_and_read(first.state_dict()))
    second.extend(records[130:])
    assert list(second) == list(whole)
    assert list(second.events) == list(whole.events)
    for path, ours, theirs in leaves(second.state_dict(), whole.state_dict()):
        assert np.array_equal(ours, theirs, equal_nan=True) if isinstance(ours, np.ndarray) else ours == theirs, path


def leaves(ours: object, theirs: object, path: str = ""):
    """Yield the path and both values of each leaf of two states."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), path
        for key in ours:
            yield from leaves(ours[key], theirs[key], f"{path}/{key}")
    else:
        both = [value.numpy() if isinstance(value, torch.Tensor) else value for value in (ours, theirs)]
        yield path, *both


def test_a_history_restores_into_a_smaller_window():
    """A smaller window keeps the latest records."""
    history, smaller = History(), History(window=3)
    history.extend([record(k) for k in range(10)])
    smaller.load_state_dict(history.state_dict())
    assert [r.step for r in smaller] == [7, 8, 9]
    assert smaller.aggregates[0].steps == 10


def test_a_history_without_records_can_be_saved():
    """The state of an empty history can be saved and loaded."""
    history = History()
    history.load_state_dict(written_and_read(History().state_dict()))
    assert len(history) == 0


def test_columns_count_like_records():
    """Steps given as columns enter the totals of their optimizer, but not the window."""
    records = [record(k, norm=1.0 + k % 7, optimizer=k % 2) for k in range(30)]
    by_record, by_column = History(), History()
    by_record.extend(records)
    names = [name for name in StepRecord.__dataclass_fields__ if name != "params"]
    by_column.count({name: [getattr(r, name) for r in records] for name in names})
    assert len(by_column) == 0
    for optimizer in (0, 1):
        ours, theirs = by_column.aggregates[optimizer], by_record.aggregates[optimizer]
        assert (ours.steps, ours.clipped, ours.mean, ours.coef_sum) == (
            theirs.steps,
            theirs.clipped,
            theirs.mean,
            theirs.coef_sum,
        )
        for path, one, other in leaves(
            by_column.landmarks[optimizer].state_dict(), by_record.landmarks[optimizer].state_dict()
        ):
            assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other, path
        assert np.array_equal(ours.losses.values(), theirs.losses.values())


def test_events_are_bounded():
    """The history keeps only the latest 1,000 events."""
    history = History()
    for step in range(2000):
        history.events.append(Event(step, "switch", ""))
    assert len(history.events) == 1000
    assert history.events[-1].step == 1999


def test_measurements_are_saved_with_the_history():
    """After loading with `weights_only=True`, the first measurement of a kind is still kept."""
    history = History()
    for step in range(300):
        history.measurements.add(Measurement(step, "flow", {"norms": [1.0, math.inf], "verdict": "healthy"}))
    restored = History()
    restored.measurements.add(Measurement(0, "stale"))
    restored.load_state_dict(written_and_read(history.state_dict()))
    assert list(restored.measurements) == list(history.measurements)
    restored.measurements.add(Measurement(300, "flow"))
    assert [one.step for one in restored.measurements.of("flow")] == [0, *range(101, 301)]


def test_a_history_saved_before_there_were_measurements_can_be_loaded():
    """An old checkpoint without the key loads as a history without measurements."""
    history, state = History(), History().state_dict()
    del state["measurements"]
    history.load_state_dict(state)
    assert len(history.measurements) == 0


def test_an_unknown_column_is_an_error():
    """The name of a field that does not exist raises an error."""
    history = History()
    history.extend([record(0)])
    with pytest.raises(AttributeError, match="norm"):
        history.column("norm")
