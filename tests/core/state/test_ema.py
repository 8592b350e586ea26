import io

import pytest
import torch

from lightning_clip.core.state import Ema

YES, NO = torch.tensor(True), torch.tensor(False)


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9, 0.999])
def test_it_is_the_bias_corrected_average(decay):
    """It is the sum of `decay^(n - i) x_i` divided by the sum of the weights, for each n."""
    values = torch.rand(50, dtype=torch.float64)
    ema = Ema(decay)
    for n in range(1, 51):
        ema.push(values[n - 1], YES)
        weights = decay ** torch.arange(n - 1, -1, -1, dtype=torch.float64)
        assert float(ema.mean()) == pytest.approx(float((weights * values[:n]).sum() / weights.sum()), rel=1e-12)
    assert int(ema.count) == 50


def test_it_is_nan_before_the_first_value():
    """There is no average of nothing."""
    assert Ema(0.9).mean().isnan()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 5.0])
def test_what_is_not_to_be_kept_changes_nothing(bad):
    """The state stays the same bit for bit, also before the first value."""
    ema, other = Ema(0.9), Ema(0.9)
    ema.push(torch.tensor(bad), NO)
    for x in (0.1, 0.7):
        ema.push(torch.tensor(x), YES)
        other.push(torch.tensor(x), YES)
        ema.push(torch.tensor(bad), NO)
    for name, buffer in ema.state_dict().items():
        assert torch.equal(buffer, other.state_dict()[name]), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_it_keeps_the_dtype_of_the_first_value_through_a_checkpoint(dtype):
    """A restored average is the same bit for bit and continues the same way."""
    ema = Ema(0.9)
    for x in (0.1, 0.7):
        ema.push(torch.tensor(x, dtype=dtype), YES)
    file = io.BytesIO()
    torch.save(ema.state_dict(), file)
    file.seek(0)
    restored = Ema(0.9)
    restored.load_state_dict(torch.load(file, weights_only=True))
    for e in (ema, restored):
        e.push(torch.tensor(0.3, dtype=dtype), YES)
    assert restored.mean().dtype == dtype
    assert torch.equal(restored.mean(), ema.mean())


def test_it_follows_its_values_to_their_device():
    """The buffers move with the first value on another device."""
    ema = Ema(0.9)
    ema.push(torch.tensor(1.0), YES)
    ema.push(torch.tensor(1.0, device="meta"), YES.to("meta"))
    assert ema.mean().device.type == "meta"
