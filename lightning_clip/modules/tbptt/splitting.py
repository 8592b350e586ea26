"""`split_time`: splits a batch of sequences into chunks along the time dimension."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from lightning_clip._errors import ArgumentError


def split_time(batch: Any, steps: int, *, time_dim: int = 1) -> list[Any]:
    """Split every sequence of a batch into chunks of `steps` time steps.

    Tensors with a time dimension are split into views. Everything else, such as tensors with fewer dimensions, is
    included unchanged in every chunk.

    Args:
        batch: Tensors in tuples, lists and dictionaries.
        steps: Length of a chunk, in time steps; the last one may be shorter.
        time_dim: The time dimension of the tensors.

    Returns:
        The chunks, each with the structure of the batch.

    Raises:
        ArgumentError: No tensor has a time dimension, or the numbers of steps differ.

    Example:
        >>> import torch
        >>> [chunk["x"].shape[1] for chunk in split_time({"x": torch.zeros(2, 10, 3), "rows": torch.zeros(2)}, 4)]
        [4, 4, 2]
    """
    lengths = {tensor.shape[time_dim] for tensor in _tensors(batch) if tensor.dim() > time_dim}
    if len(lengths) != 1:
        found = " and ".join(map(str, sorted(lengths))) or "no"
        raise ArgumentError(
            f"The batch has tensors of {found} steps in dimension {time_dim}; all must have the same number of steps. "
            "Override tbptt_split to split such a batch."
        )
    (total,) = lengths
    return [_narrow(batch, start, min(steps, total - start), time_dim) for start in range(0, total, steps)]


def first_sequences(batch: Any, *, time_dim: int = 1) -> Tensor:
    """The first tensor of a batch that has a time dimension.

    Args:
        batch: Tensors in tuples, lists and dictionaries, at least one with a time dimension.
        time_dim: The time dimension of the tensors.

    Returns:
        The tensor.
    """
    return next(tensor for tensor in _tensors(batch) if tensor.dim() > time_dim)


def _tensors(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping | tuple | list):
        for value in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _tensors(value)


def _narrow(batch: Any, start: int, length: int, time_dim: int) -> Any:
    if isinstance(batch, Tensor):
        return batch.narrow(time_dim, start, length) if batch.dim() > time_dim else batch
    if isinstance(batch, Mapping):
        return {key: _narrow(value, start, length, time_dim) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        parts = [_narrow(value, start, length, time_dim) for value in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return batch
