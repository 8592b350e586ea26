import pytest
import torch

from lightning_clip.functional.blocks import blocks_of
from lightning_clip.functional.scratch import CACHED


def test_a_flat_copy_shares_no_memory_and_keeps_the_order():
    """It does so even for a single tensor, and one that is not contiguous."""
    for tensors in ([torch.ones(2, 3)], [torch.arange(6.0).view(2, 3).T, torch.ones(())]):
        (block,) = blocks_of(tensors)
        flat = block.flatten(tensors)
        views = block.unflatten(flat, tensors)
        assert all(torch.equal(view, tensor) for view, tensor in zip(views, tensors, strict=True))
        flat.zero_()
        assert not any(bool(view.any()) for view in views)
        assert all(bool(tensor.any()) for tensor in tensors)


def test_tensors_of_different_types_are_in_different_blocks_and_empty_ones_in_none():
    """The order within a block is that of the list."""
    tensors = [torch.ones(2), torch.ones(3, dtype=torch.float64), torch.ones(0), torch.ones(1), torch.ones(4)]
    assert [block.members for block in blocks_of(tensors)] == [[0, 3, 4], [1]]


def test_a_block_on_the_cpu_fits_into_the_cache():
    """A tensor that is larger by itself is a block of its own; on an accelerator, there is one block."""
    sizes = (10, CACHED // 2, CACHED // 2, 3 * CACHED, 5)
    assert [block.members for block in blocks_of([torch.empty(size) for size in sizes])] == [[0, 1], [2], [3], [4]]
    far = [torch.empty(size, device="meta") for size in sizes]
    assert [block.members for block in blocks_of(far)] == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("numbers", [[2.0, 2.0, 2.0, 2.0], [1.0, 2.0, 3.0, 4.0], [1.0, float("nan"), 3.0, 4.0]])
def test_each_element_gets_the_number_of_its_tensor(numbers):
    """Whether the members are all tensors, neighbors, or neither."""
    real, wide = torch.float32, torch.float64
    for dtypes in ((real,) * 4, (real, real, wide, wide), (real, wide, real, wide)):
        tensors = [torch.empty(size, dtype=dtype) for size, dtype in zip((2, 1, 3, 2), dtypes, strict=True)]
        for block in blocks_of(tensors):
            own = block.of(tensors)
            spread = block.spread(torch.tensor(numbers), like=own[0]).expand(block.numel)
            expected = [torch.full_like(t, numbers[i]) for i, t in zip(block.members, own, strict=True)]
            torch.testing.assert_close(spread, torch.cat(expected), equal_nan=True)
