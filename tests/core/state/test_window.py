import io

import numpy as np
import pytest
import torch

from lightning_clip.core.state import Window

YES, NO = torch.tensor(True), torch.tensor(False)


def filled(size: int, values: np.ndarray, dtype: torch.dtype = torch.float64) -> Window:
    window = Window(size)
    for value in values:
        window.push(torch.tensor(value, dtype=dtype), YES)
    return window


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_its_statistics_are_those_of_numpy_on_the_latest_values(size, dtype):
    """Median, MAD and quantiles match, while the window fills and after it wraps around."""
    values = np.random.default_rng(0).lognormal(size=30)
    for n in range(1, 31):
        latest = values[:n][-size:]
        window = filled(size, values[:n], dtype)
        median = np.median(latest)
        tolerance = 1e-12 if dtype == torch.float64 else 1e-5
        assert float(window.median()) == pytest.approx(median, rel=tolerance)
        assert float(window.mad()) == pytest.approx(np.median(np.abs(latest - median)), rel=tolerance, abs=tolerance)
        assert [float(x) for x in window.median_and_mad()] == [float(window.median()), float(window.mad())]
        for fraction in (0.0, 0.1, 0.5, 0.77, 1.0):
            assert float(window.quantile(fraction)) == pytest.approx(np.quantile(latest, fraction), rel=tolerance)


def test_it_is_nan_before_the_first_value():
    """There are no statistics of nothing."""
    assert all(np.isnan(x) for x in (Window(3).median(), Window(3).mad(), Window(3).quantile(0.3)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 5.0])
def test_what_is_not_to_be_kept_changes_nothing(bad):
    """Neither the values nor the count change, while filling and after wrapping around."""
    for n in (0, 2, 7):
        window, other = filled(3, np.arange(1.0, n + 1)), filled(3, np.arange(1.0, n + 1))
        window.push(torch.tensor(bad, dtype=torch.float64), NO)
        assert torch.equal(window.values.nan_to_num(), other.values.nan_to_num())
        assert int(window.count) == n


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_it_keeps_the_dtype_of_the_first_value_through_a_checkpoint(dtype):
    """A restored window has the same values bit for bit and continues the same way."""
    window = filled(5, np.random.default_rng(0).random(13), dtype)
    file = io.BytesIO()
    torch.save(window.state_dict(), file)
    file.seek(0)
    restored = Window(5)
    restored.load_state_dict(torch.load(file, weights_only=True))
    for w in (window, restored):
        w.push(torch.tensor(0.3, dtype=dtype), YES)
    assert restored.values.dtype == dtype
    assert torch.equal(restored.values, window.values)
    assert int(restored.count) == 14


@pytest.mark.parametrize("pushed", [2, 4, 5, 13])
@pytest.mark.parametrize("size", [3, 4, 5, 9])
def test_a_checkpoint_of_another_size_gives_the_latest_values_that_fit(size, pushed):
    """A window that was made longer or shorter continues as if it had always had that size."""
    values = np.arange(1.0, pushed + 1)
    window = Window(size)
    window.load_state_dict(filled(5, values).state_dict())
    assert sorted(window.values[~window.values.isnan()].tolist()) == values[-min(size, 5) :].tolist()
    for value in (100.0, 200.0):
        window.push(torch.tensor(value, dtype=torch.float64), YES)
    expected = [*values[-min(size, 5) :], 100.0, 200.0][-size:]
    assert sorted(window.values[~window.values.isnan()].tolist()) == expected


def test_it_follows_its_values_to_their_device():
    """The buffers move with the first value on another device."""
    window = filled(3, np.arange(4.0))
    window.push(torch.tensor(1.0, device="meta"), YES.to("meta"))
    assert {buffer.device.type for buffer in window.buffers()} == {"meta"}
    assert window.median().device.type == "meta"


def test_a_state_with_nan_is_refused():
    """A NaN among the stored values can only come from a broken file; one in an empty place is right."""
    window = Window(4)
    for value in (1.0, 2.0):
        window.push(torch.tensor(value), torch.tensor(True))
    state = window.state_dict()
    Window(4).load_state_dict(state)
    state["values"][1] = torch.nan
    with pytest.raises(ValueError, match=r"values holds NaN"):
        Window(4).load_state_dict(state)


@pytest.mark.parametrize("spoiled", [torch.zeros(2, 2), torch.zeros((), dtype=torch.int64)])
def test_a_state_of_another_kind_is_refused(spoiled):
    """A buffer with another number of dimensions, or of whole numbers, is not loaded."""
    state = {**Window(4).state_dict(), "values": spoiled}
    with pytest.raises(ValueError, match=r"values has shape .* and type"):
        Window(4).load_state_dict(state)
