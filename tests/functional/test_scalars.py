import math

import numpy as np
import pytest
import torch

from lightning_clip.functional import scalars
from lightning_clip.functional.scaling import clip_coef

NAN, INF = math.nan, math.inf
NUMBERS = (0.0, 1e-30, 0.3, 1.0, 7.7, 3e38, INF, NAN)


def both(number: float, dtype: torch.dtype) -> tuple[torch.Tensor, np.floating]:
    tensor = torch.tensor(number, dtype=dtype)
    return tensor, scalars.scalar(tensor)


def same(a: object, b: torch.Tensor) -> bool:
    return bool(np.array_equal(np.asarray(a), b.numpy(), equal_nan=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_numbers_give_the_bits_of_tensors(dtype):
    """Each operation rounds once, to the dtype of the number."""
    with np.errstate(all="ignore"):
        for x in NUMBERS:
            (tensor, number) = both(x, dtype)
            # On CPUs without AVX-512, torch itself rounds a root to the neighbor of the nearest number.
            assert np.array_equal(scalars.sqrt(number), type(number)(math.sqrt(number)), equal_nan=True)
            assert same(tensor.sqrt(), scalars.sqrt(tensor))
            np.testing.assert_array_max_ulp(scalars.sqrt(number), scalars.sqrt(tensor).numpy(), maxulp=1)
            assert bool(scalars.is_finite(number)) == bool(scalars.is_finite(tensor))
            for y in NUMBERS:
                other, second = both(y, dtype)
                assert same(scalars.maximum(number, second), scalars.maximum(tensor, other)), (x, y)
                assert same(scalars.minimum(number, second), scalars.minimum(tensor, other)), (x, y)
                for combine in (lambda a, b: a + b, lambda a, b: a * b, lambda a, b: 0.1 * a - b, lambda a, b: a / b):
                    assert same(combine(number, second), combine(tensor, other)), (x, y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("eps", [0.0, 1e-6])
@pytest.mark.parametrize("min_scale", [0.0, 0.25])
def test_a_factor_has_the_bits_of_a_factor_on_tensors(dtype, eps, min_scale):
    """With a limit that is a number of Python, and with one that is measured."""
    generator = torch.Generator().manual_seed(0)
    norms = [*NUMBERS, *(10 * torch.rand(200, generator=generator)).tolist()]
    with np.errstate(all="ignore"):
        for x in norms:
            norm, number = both(x, dtype)
            for limit in (0.7, 3.0, 0.0, INF):
                expected = clip_coef(norm, limit, eps=eps, min_scale=min_scale)
                found = clip_coef(number, limit, eps=eps, min_scale=min_scale)
                assert same(found, expected), (x, limit)
                assert found.dtype == expected.numpy().dtype
                measured, second = both(limit, dtype)
                expected = clip_coef(norm, measured, eps=eps, min_scale=min_scale)
                assert same(clip_coef(number, second, eps=eps, min_scale=min_scale), expected), (x, limit)


def test_a_choice_of_two_functions_calls_one_if_it_can():
    """On an accelerator, both are computed."""
    called: list[str] = []

    def yes() -> torch.Tensor:
        called.append("yes")
        return torch.ones(())

    def no() -> torch.Tensor:
        called.append("no")
        return torch.zeros(())

    assert float(scalars.choose(np.bool_(False), yes, no)) == 0.0
    assert called == ["no"]
    assert float(scalars.choose(torch.tensor(True), yes, no)) == 1.0
    assert called == ["no", "yes", "no"]


def test_a_tensor_that_is_not_free_to_read_stays_a_tensor():
    """Nothing waits for a device."""
    far = torch.ones((), device="meta")
    assert scalars.scalar(far) is far
    assert scalars.scalar(np.float32(2.0)) == 2.0
    assert scalars.as_tensor(np.float32(2.0)).dtype == torch.float32
