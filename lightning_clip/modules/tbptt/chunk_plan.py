"""`ChunkPlan`: the chunks of a batch, and the weight of each."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


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
