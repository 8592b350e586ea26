"""How a batch is cut into chunks: `ChunkPlan` says when to step, `split_time` cuts the tensors."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_clip._errors import ArgumentError


class ChunkPlan:
    """The chunks of a batch in order, with their numbers of targets.

    Args:
        chunks: The chunks of a batch.
        weights: Number of targets of each chunk. The Python number 0 means that the chunk has no loss.
        device: Device of `counts`.

    Attributes:
        chunks: The chunks.
        has_loss: Whether each chunk takes part in the backward pass.
        counts: `(chunks,)`, number of targets of each chunk.
    """

    def __init__(self, chunks: Sequence[Any], weights: Sequence[Tensor | float], device: torch.device) -> None:
        self.chunks = list(chunks)
        self.has_loss = [isinstance(weight, Tensor) or weight != 0 for weight in weights]
        numbers = [torch.as_tensor(weight, dtype=torch.float32, device=device) for weight in weights]
        self.counts = torch.stack(numbers)

    def add_missing(self, missing: int) -> None:
        """Repeat the last chunk with weight 0, so that every process makes as many backward passes.

        Args:
            missing: Number of repetitions.
        """
        self.chunks += self.chunks[-1:] * missing
        self.has_loss += [True] * missing
        self.counts = torch.cat([self.counts, self.counts.new_zeros(missing)])

    @property
    def last(self) -> int:
        """Index of the last chunk with a loss; -1 if there is none."""
        return max((number for number, has_loss in enumerate(self.has_loss) if has_loss), default=-1)

    @property
    def shares(self) -> Tensor:
        """`(chunks,)`, numbers of targets relative to the largest one, which is exactly 1."""
        return self.counts / self.counts.max().clamp(min=torch.finfo(torch.float32).tiny)

    @property
    def total(self) -> Tensor:
        """Number of targets of all chunks, `()`."""
        return self.counts.sum()


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
