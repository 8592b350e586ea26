import io
import math

import numpy as np
import pytest
import torch

from lightning_clip.core import StepRecord
from lightning_clip.core.record.parameter_totals import ParameterTotals
from lightning_clip.core.record.step_record import ParamNorms


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
    layers = ParameterTotals()
    layers.add(records)
    return layers


def test_each_parameter_has_its_own_numbers():
    """Steps, clipped steps, the largest norm and the share of the squared total."""
    layers = totals(record(0, {"w": 3.0, "b": 4.0}, {"w": True}), record(1, {"w": 6.0, "b": 0.0}, {"w": True}))
    assert layers.names == ["w", "b"]
    assert layers.steps.tolist() == [2, 2]
    assert layers.clipped.tolist() == [2, 0]
    assert layers.max.tolist() == [6.0, 4.0]
    assert layers.share.tolist() == pytest.approx([9 / 25 + 1, 16 / 25])


def test_a_parameter_counts_from_its_first_gradient_on():
    """Parameters may be missing at a step, and join later."""
    layers = totals(record(0, {"w": 1.0}), record(1, {"b": 2.0, "w": 1.0}), record(2, {"b": 4.0}))
    assert layers.names == ["w", "b"]
    assert layers.steps.tolist() == [2, 2]
    assert layers.max.tolist() == [1.0, 4.0]
    np.testing.assert_allclose(layers.sketch.quantiles([1.0])[0], [1.0, 4.0], rtol=0.011)


def test_the_order_of_parameters_does_not_matter():
    """Rows are found by name."""
    layers = totals(record(0, {"w": 1.0, "b": 2.0}), record(1, {"b": 2.0, "w": 1.0}))
    assert layers.max.tolist() == [1.0, 2.0]


def test_steps_that_are_not_finite_are_passed_over():
    """So are those without norms of parameters."""
    without = record(2, {"w": 5.0})
    without.params = None
    layers = totals(record(0, {"w": 1.0}), record(1, {"w": math.nan}), without)
    assert layers.steps.tolist() == [1]
    assert layers.max.tolist() == [1.0]


def test_a_step_without_any_signal_has_no_shares():
    """Zero over zero is not counted."""
    assert totals(record(0, {"w": 0.0, "b": 0.0})).share.tolist() == [0.0, 0.0]


def test_shares_of_very_large_norms_do_not_overflow():
    """Squares of 1e200 are infinite, shares are not."""
    layers = ParameterTotals()
    layers._add(("w", "b"), np.array([[3e200, 4e200]]), np.zeros((1, 2), dtype=bool))
    assert layers.share.tolist() == pytest.approx([9 / 25, 16 / 25])


def test_quantiles_are_those_of_numpy_within_a_bin():
    """About 1 % with 32 bins for each doubling."""
    norms = np.random.default_rng(0).lognormal(size=(500, 2))
    layers = totals(*(record(k, {"w": w, "b": b}) for k, (w, b) in enumerate(norms)))
    exact = np.quantile(norms, [0.1, 0.5, 0.9], axis=0, method="lower")
    np.testing.assert_allclose(layers.sketch.quantiles([0.1, 0.5, 0.9]), exact, rtol=0.011)


def test_memory_does_not_grow_with_steps():
    """A parameter whose norms lie within a factor of 2,000 takes 2 kB, however long the run."""
    layers = totals(*(record(k, {"w": 1.0 + k}) for k in range(2000)))
    assert layers.sketch.counts.nbytes < 2_500


def test_a_restored_total_goes_on():
    """Read with `weights_only=True`; new parameters may still join."""
    first, second = totals(record(0, {"w": 1.0})), ParameterTotals()
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    for layers in (first, second):
        layers.add([record(1, {"w": 3.0, "b": 4.0}, {"b": True})])
    for column in ("steps", "clipped", "max", "share"):
        assert getattr(second, column).tolist() == getattr(first, column).tolist()
    assert second.names == ["w", "b"]
    assert np.array_equal(second.sketch.counts, first.sketch.counts)
