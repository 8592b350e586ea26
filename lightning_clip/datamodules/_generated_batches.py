"""Batches that are generated on demand (`GeneratedBatches`), and the sampler that numbers them (`FreshBatches`)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, DistributedSampler

from lightning_clip.datamodules._tensor_rows import Batch

Arrays = tuple[NDArray[np.float32], NDArray[np.float32] | NDArray[np.int64]]


class GeneratedBatches(Dataset[Batch]):
    """Batches that depend only on a seed and their number: the same in any order, worker or process.

    Args:
        draw: Generates inputs and targets, given a random generator and the number of sequences.
        sizes: Sequences in each batch. Batch numbers beyond the end start over with the first size and new sequences.
        entropy: Integers that seed all batches.

    Attributes:
        sizes: Sequences in each batch.
    """

    def __init__(
        self, draw: Callable[[np.random.Generator, int], Arrays], sizes: Sequence[int], entropy: Sequence[int]
    ) -> None:
        self.draw = draw
        self.sizes = sizes
        self.entropy = tuple(entropy)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, number: int) -> Batch:
        generator = np.random.default_rng((*self.entropy, number))
        inputs, targets = self.draw(generator, self.sizes[number % len(self.sizes)])
        return torch.from_numpy(inputs), torch.from_numpy(targets)


class FreshBatches(DistributedSampler[Any]):
    """Batch numbers in order, new ones in each epoch. Every process gets its own, and equally many.

    As with any `DistributedSampler`, call `set_epoch` before each epoch; Lightning does.

    Args:
        batches: The batches of one epoch.
        num_replicas: Number of processes.
        rank: Index of this process.
    """

    def __init__(self, batches: GeneratedBatches, *, num_replicas: int = 1, rank: int = 0) -> None:
        super().__init__(batches, num_replicas, rank, shuffle=False, drop_last=True)
        self.batches_per_epoch = len(batches)

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.batches_per_epoch
        return (first + number for number in super().__iter__())


def one_hot(symbols: NDArray[np.int64], n_symbols: int) -> NDArray[np.float32]:
    """One-hot encode symbols.

    Args:
        symbols: `(…)`, each in [0, n_symbols).
        n_symbols: Number of symbols.

    Returns:
        `(…, n_symbols)`.
    """
    vectors = np.zeros((symbols.size, n_symbols), dtype=np.float32)
    vectors[np.arange(symbols.size), symbols.reshape(-1)] = 1.0
    return vectors.reshape(*symbols.shape, n_symbols)
