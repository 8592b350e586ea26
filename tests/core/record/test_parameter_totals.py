import io
import math

import numpy as np
import pytest
import torch

from lightning_clip.core import StepRecord
from lightning_clip.core.record.parameter_totals import ParameterTotals
from lightning_clip.core.record.step_record import ParamNorms
from lightning_clip.sinks.jsonl import _lists
from lightning_clip.sinks.strict_json import encoded


def record(step: int, norms: dict[str, float], clipped: dict[str, bool] | None = None) -> StepRecord:
    before = np.array(list(norms.values()))
    total = math.sqrt((before**2).sum())
    mask = np.array([(clipped or {}).get(name, False) for name in norms])
    finite = math.isfinite(total)
    return StepRecord(
        step,
        0,
        "A()",
        total,
        total,
        None,
        1.0,
        bool(mask.any()),
        finite,
        False,
        params=ParamNorms((*norms,), before, mask),
    )


def totals(*records: StepRecord) -> ParameterTotals:
    result = ParameterTotals()
    result.add(records)
    return result


def test_each_parameter_has_its_own_numbers():
    """Each parameter has its steps, clipped steps, largest norm and share of the squared total norm."""
    found = totals(record(0, {"w": 3.0, "b": 4.0}, {"w": True}), record(1, {"w": 6.0, "b": 0.0}, {"w": True}))
    assert found.names == ["w", "b"]
    assert found.steps.tolist() == [2, 2]
    assert found.clipped.tolist() == [2, 0]
    assert found.max.tolist() == [6.0, 4.0]
    assert found.share.tolist() == pytest.approx([9 / 25 + 1, 16 / 25])


def test_a_parameter_counts_from_its_first_gradient_on():
    """Parameters may be missing at a step, and may appear later."""
    found = totals(record(0, {"w": 1.0}), record(1, {"b": 2.0, "w": 1.0}), record(2, {"b": 4.0}))
    assert found.names == ["w", "b"]
    assert found.steps.tolist() == [2, 2]
    assert found.max.tolist() == [1.0, 4.0]
    np.testing.assert_allclose(found.sketch.quantiles([1.0])[0], [1.0, 4.0], rtol=0.011)


def test_the_order_of_parameters_does_not_matter():
    """Norms are assigned to parameters by name."""
    found = totals(record(0, {"w": 1.0, "b": 2.0}), record(1, {"b": 2.0, "w": 1.0}))
    assert found.max.tolist() == [1.0, 2.0]


def test_non_finite_steps_are_ignored():
    """Steps with NaN norms and steps without parameter norms are ignored."""
    without = record(2, {"w": 5.0})
    without.params = None
    found = totals(record(0, {"w": 1.0}), record(1, {"w": math.nan}), without)
    assert found.steps.tolist() == [1]
    assert found.max.tolist() == [1.0]


def test_a_step_without_a_gradient_is_no_sample():
    """A step whose gradients are all zero counts for no parameter; a single zero beside others does."""
    found = totals(record(0, {"w": 0.0, "b": 0.0}), record(1, {"w": 2.0, "b": 0.0}))
    assert (found.steps.tolist(), found.share.tolist()) == ([1, 1], [1.0, 0.0])


def test_shares_of_very_large_norms_do_not_overflow():
    """Shares stay finite even though the square of 1e200 is infinite."""
    found = ParameterTotals()
    found._add(("w", "b"), np.array([[3e200, 4e200]]), np.zeros((1, 2), dtype=bool))
    assert found.share.tolist() == pytest.approx([9 / 25, 16 / 25])


def test_quantiles_are_close_to_those_of_numpy():
    """For norms that range over a factor of 1,000, quantiles are accurate to about 4%."""
    norms = np.random.default_rng(0).lognormal(size=(500, 2))
    found = totals(*(record(k, {"w": w, "b": b}) for k, (w, b) in enumerate(norms)))
    exact = np.quantile(norms, [0.1, 0.5, 0.9], axis=0, method="lower")
    np.testing.assert_allclose(found.sketch.quantiles([0.1, 0.5, 0.9]), exact, rtol=0.04)


def test_memory_does_not_grow_with_steps():
    """A parameter takes about 300 bytes, however long the run and however wide the range of its norms."""
    found = totals(*(record(k, {"w": 1.0 + k}) for k in range(2000)))
    assert found.sketch.counts.nbytes < 300


def test_ten_thousand_parameters_stay_small_in_a_checkpoint_and_in_a_record():
    """At most 4 MB and 2 MB, whatever the norms."""
    found = ParameterTotals()
    random = np.random.default_rng(0)
    names = tuple(f"encoder.layers.{k}.weight" for k in range(10_000))
    for _ in range(4):
        found._add(names, np.exp(random.normal(size=(50, 10_000), scale=5.0)), random.random((50, 10_000)) < 0.5)
    file = io.BytesIO()
    torch.save(found.state_dict(), file)
    assert file.tell() < 4e6
    assert len(encoded({"totals": {"layers": _lists(found.state_dict())}})) < 2e6


def test_restored_totals_continue():
    """Totals loaded with `weights_only=True` continue, and new parameters may still appear."""
    first, second = totals(record(0, {"w": 1.0})), ParameterTotals()
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    for found in (first, second):
        found.add([record(1, {"w": 3.0, "b": 4.0}, {"b": True})])
    for column in ("steps", "clipped", "max", "share"):
        assert getattr(second, column).tolist() == getattr(first, column).tolist()
    assert second.names == ["w", "b"]
    assert np.array_equal(second.sketch.counts, first.sketch.counts)
