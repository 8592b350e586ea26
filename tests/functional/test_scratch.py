import threading

import torch

from lightning_clip.functional.norms import tensor_norms
from lightning_clip.functional.scratch import CACHED, _kept, scratch, stacked


def test_memory_is_kept_from_call_to_call():
    """The two kinds of memory and those of two dtypes are apart."""
    with torch.no_grad():
        first, again = scratch(3, torch.ones(1)), scratch(5, torch.ones(1))
        others = scratch(3, torch.ones(1), second=True), scratch(3, torch.ones(1, dtype=torch.float64))
    assert first.data_ptr() == again.data_ptr()
    assert len({memory.data_ptr() for memory in (first, *others)}) == 3


def test_where_memory_cannot_be_shared_there_is_none():
    """This holds for more than a block, on an accelerator, and where autograd records."""
    with torch.no_grad():
        assert scratch(CACHED + 1, torch.ones(1)) is None
        assert scratch(1, torch.ones(1, device="meta")) is None
    assert scratch(1, torch.ones(1)) is None


def test_each_thread_has_its_own():
    """So two threads can measure gradients at the same time."""
    found = []

    def keep() -> None:
        with torch.no_grad():
            found.append(scratch(2, torch.ones(1)))

    threads = [threading.Thread(target=keep) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0].data_ptr() != found[1].data_ptr()


def test_what_is_made_in_inference_mode_can_be_used_outside():
    """Norms measured in validation do not break those of the next training step."""
    dtype = torch.complex64  # no other test asks for memory of this type
    with torch.inference_mode():
        stacked([torch.ones(2, dtype=dtype)])
    with torch.no_grad():
        assert stacked([torch.ones(2, dtype=dtype), torch.zeros(2, dtype=dtype)]).real.tolist() == [[1, 1], [0, 0]]


def test_norms_keep_their_gradient_where_autograd_records():
    """The sum of 40 norms of vectors of two ones has the gradient 1 / √2 in each element."""
    tensors = [torch.ones(2, requires_grad=True) for _ in range(40)]
    tensor_norms(tensors).sum().backward()
    torch.testing.assert_close(tensors[0].grad, torch.full((2,), 0.5**0.5))


def test_many_sizes_hold_little_memory():
    """Blocks of any number of sizes are parts of the same memory, and only so many parts are kept."""
    with torch.no_grad():
        parts = {scratch(size, torch.ones(1)).data_ptr() for size in range(1, 3_000)}
    assert len(parts) == 1
    assert len(_kept.parts) <= 1_000
