"""`ChunkPlan`: the chunks of a batch, and how much each of them counts."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class ChunkPlan:
    """Chunks in order, with the number of targets of each.

    Args:
        chunks: The chunks of a batch.
        weights: The number of targets of each. The plain number 0 says that a chunk has no loss at all.
        device: Where the weights are needed.

    Attributes:
        chunks: The chunks.
        has_loss: Whether a chunk takes part in the backward pass.
        counts: `(chunks,)`, targets of each chunk.
    """

    def __init__(self, chunks: Sequence[Any], weights: Sequence[Tensor | float], device: torch.device) -> None:
        self.chunks = list(chunks)
        self.has_loss = [isinstance(weight, Tensor) or weight != 0 for weight in weights]
        numbers = [torch.as_tensor(weight, dtype=torch.float32, device=device) for weight in weights]
        self.counts = torch.stack(numbers)

    def add_missing(self, missing: int) -> None:
        """Repeat the last chunk, at no weight, so that other processes find a partner for each backward pass.

        Args:
            missing: How often.
        """
        self.chunks += self.chunks[-1:] * missing
        self.has_loss += [True] * missing
        self.counts = torch.cat([self.counts, self.counts.new_zeros(missing)])

    @property
    def last(self) -> int:
        """The last chunk with a loss; -1 if there is none."""
        return max((number for number, has_loss in enumerate(self.has_loss) if has_loss), default=-1)

    @property
    def shares(self) -> Tensor:
        """`(chunks,)`, targets relative to those of the fullest chunk: exactly 1 for that one."""
        return self.counts / self.counts.max().clamp(min=torch.finfo(torch.float32).tiny)

    @property
    def total(self) -> Tensor:
        """Targets of all chunks, `()`."""
        return self.counts.sum()
