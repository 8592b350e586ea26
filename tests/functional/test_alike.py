import pytest
import torch

from lightning_clip.functional import tensor_norms
from lightning_clip.functional.alike import norms_of_alike

SIZES = [*range(1, 20), 31, 32, 33, 63, 64, 65, 255, 256, 257, 1000, 2049, 4095, 4096]
VALUES = {
    "normal": lambda x: x,
    "of very different sizes": lambda x: x * 10 ** torch.empty_like(x).uniform_(-15, 15),
    "with NaN": lambda x: x.index_fill(0, torch.tensor([x.numel() // 2]), torch.nan),
    "with infinity": lambda x: x.index_fill(0, torch.tensor([x.numel() // 3]), torch.inf),
}


def assert_same_bits(tensors: list[torch.Tensor]) -> None:
    expected = torch.stack(torch._foreach_norm(tensors, 2.0))
    measured = norms_of_alike(tensors)
    assert measured is not None
    torch.testing.assert_close(measured, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_norms_of_stacked_tensors_are_those_of_each_bit_for_bit(dtype, values):
    """So a norm does not depend on which other tensors are measured beside it, or on how gradients are sharded."""
    torch.manual_seed(0)
    for size in SIZES:
        tensors = [VALUES[values](torch.randn(size, dtype=dtype)) for _ in range(33)]
        assert_same_bits(tensors)
        if size % 8 == 0:
            assert_same_bits([tensor.view(8, -1) for tensor in tensors])


def test_tensors_of_several_shapes_keep_their_order():
    """Those of a rare shape, those that are large and those that are not contiguous are measured one by one."""
    torch.manual_seed(0)
    tensors = [torch.randn((3, 5) if i % 2 else (7,)) for i in range(80)]
    tensors.insert(11, torch.randn(100, 100))
    tensors.insert(5, torch.randn(2))
    assert_same_bits(tensors)
    tensors[0] = torch.randn(7, 9)[:, 0]
    torch.testing.assert_close(tensor_norms(tensors), torch.stack([t.norm() for t in tensors]))


def test_other_tensors_are_left_to_torch():
    """Few of them, half precision and another norm."""
    alike = [torch.ones(4) for _ in range(40)]
    assert norms_of_alike(alike[:20]) is None
    assert norms_of_alike([tensor.half() for tensor in alike]) is None
    assert norms_of_alike([torch.ones(4, i + 1) for i in range(40)]) is None
    assert tensor_norms(alike, 1.0).tolist() == [4.0] * 40
    assert tensor_norms(alike, dtype=torch.float64).dtype == torch.float64
