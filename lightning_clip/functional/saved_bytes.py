"""`SavedBytes`: measures the memory that autograd keeps for a backward pass."""

from typing import Self

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


class SavedBytes(saved_tensors_hooks):
    """Counts the bytes that autograd saves inside a `with` block, each storage once; the same on every machine.

    A storage counts in full, even if only part of it is saved. The counter keeps each storage alive, so that no later
    storage can reuse its address and be missed.

    Args:
        *known: Tensors that do not count, such as parameters and inputs, which exist anyway. Include any input that the
            block uses only in part.

    Example:
        >>> import torch
        >>> weight = torch.ones(10, requires_grad=True)
        >>> with SavedBytes(weight) as saved:
        ...     loss = (weight.exp() * weight).sum()
        >>> saved.total
        40
    """

    def __init__(self, *known: Tensor) -> None:
        self._known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self._sizes: dict[int, tuple[int, Tensor]] = {}
        super().__init__(self._note, lambda tensor: tensor)

    @property
    def total(self) -> int:
        """Bytes saved so far."""
        return sum(size for size, _ in self._sizes.values())

    def __enter__(self) -> Self:  # type: ignore[override]
        super().__enter__()
        return self

    def _note(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._known:
            self._sizes[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor
