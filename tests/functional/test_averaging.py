import pytest
import torch

from lightning_clip.functional.averaging import average_gain, bias_correction, next_average


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.98, 0.999, 0.99999])
def test_the_bias_correction_keeps_its_digits_in_float32(decay):
    """It is within 1e-6 of the double-precision result; the plain difference is off by up to 6e-3."""
    for count in (1, 2, 10, 1000):
        exact = 1 - decay**count
        assert float(bias_correction(decay, torch.tensor(float(count)))) == pytest.approx(exact, rel=1e-6)


def test_a_decay_can_be_a_tensor():
    """Optimizers that run in a captured graph keep the decay as a tensor."""
    count = torch.tensor([1.0, 5.0], dtype=torch.float64)
    decay = torch.tensor(0.9, dtype=torch.float64)
    torch.testing.assert_close(bias_correction(decay, count), bias_correction(0.9, count))


@pytest.mark.parametrize("decay", [0.0, 0.7, 0.999])
def test_the_gain_makes_the_bias_corrected_average(decay):
    """`mean + gain · (value - mean)` equals `S / (1 - decay^k)`, where `S` starts at zero."""
    mean, total = torch.zeros((), dtype=torch.float64), 0.0
    for count, value in enumerate([3.0, 1.0, 4.0, 1.0, 5.0, 9.0], start=1):
        gain = average_gain(decay, torch.tensor(float(count), dtype=torch.float64))
        mean = mean + gain * (value - mean)
        total = decay * total + (1 - decay) * value
        assert float(mean) == pytest.approx(total / (1 - decay**count), rel=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.7, 0.99])
def test_the_next_average_is_the_bias_corrected_one(decay):
    """Adding values one by one gives the weighted mean of all of them, whatever the average before the first."""
    values = torch.tensor([3.0, 1.0, 4.0, 1.0, 5.0], dtype=torch.float64)
    mean = torch.tensor(100.0, dtype=torch.float64)
    for count, value in enumerate(values):
        mean = next_average(mean, value, decay=decay, count=torch.tensor(float(count), dtype=torch.float64))
    weights = decay ** torch.arange(4, -1, -1, dtype=torch.float64)
    torch.testing.assert_close(mean, (weights * values).sum() / weights.sum())
