import pytest
import torch

from lightning_clip.functional.averaging import average_gain, bias_correction


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.98, 0.999, 0.99999])
def test_the_bias_correction_keeps_its_digits_in_float32(decay):
    """Within 1e-6 of `1 - decay^k` computed in double precision, where the plain difference is off by up to 6e-3."""
    for count in (1, 2, 10, 1000):
        exact = 1 - decay**count
        assert float(bias_correction(decay, torch.tensor(float(count)))) == pytest.approx(exact, rel=1e-6)


def test_a_decay_can_be_a_tensor():
    """As optimizers keep it that run in a captured graph."""
    count = torch.tensor([1.0, 5.0], dtype=torch.float64)
    decay = torch.tensor(0.9, dtype=torch.float64)
    torch.testing.assert_close(bias_correction(decay, count), bias_correction(0.9, count))


@pytest.mark.parametrize("decay", [0.0, 0.7, 0.999])
def test_the_gain_makes_the_bias_corrected_average(decay):
    """`mean + gain · (value - mean)` is `S / (1 - decay^k)` with `S` started at zero."""
    mean, total = torch.zeros((), dtype=torch.float64), 0.0
    for count, value in enumerate([3.0, 1.0, 4.0, 1.0, 5.0, 9.0], start=1):
        gain = average_gain(decay, torch.tensor(float(count), dtype=torch.float64))
        mean = mean + gain * (value - mean)
        total = decay * total + (1 - decay) * value
        assert float(mean) == pytest.approx(total / (1 - decay**count), rel=1e-12)
