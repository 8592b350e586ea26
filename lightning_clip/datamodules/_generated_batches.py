"""`GeneratedBatches` and `FreshBatches`: batches made when they are asked for, and which are asked for in an epoch."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, DistributedSampler

from lightning_clip.datamodules._tensor_rows import Batch

Arrays = tuple[NDArray[np.float32], NDArray[np.float32] | NDArray[np.int64]]


class GeneratedBatches(Dataset[Batch]):
    """Batches that are functions of a seed and their number alone: the same in any order, worker or process.

    Args:
        draw: Makes inputs and targets of a number of sequences from a random generator.
        sizes: Sequences in each batch; numbers beyond it start from the front again, with fresh sequences.
        entropy: Whole numbers that seed all batches.

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
    """Numbers of batches in order, other ones in each epoch; each process gets its own, and the same count.

    As with every `DistributedSampler`, which epoch it is has to be said by `set_epoch`; Lightning does.

    Args:
        batches: The batches of one epoch.
        num_replicas: Number of processes.
        rank: Which of them this is.
    """

    def __init__(self, batches: GeneratedBatches, *, num_replicas: int = 1, rank: int = 0) -> None:
        super().__init__(batches, num_replicas, rank, shuffle=False, drop_last=True)
        self.batches_per_epoch = len(batches)

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.batches_per_epoch
        return (first + number for number in super().__iter__())


def one_hot(symbols: NDArray[np.int64], n_symbols: int) -> NDArray[np.float32]:
    """Symbols as unit vectors.

    Args:
        symbols: `(…)`, each in [0, n_symbols).
        n_symbols: How many there are.

    Returns:
        `(…, n_symbols)`.
    """
    vectors = np.zeros((symbols.size, n_symbols), dtype=np.float32)
    vectors[np.arange(symbols.size), symbols.reshape(-1)] = 1.0
    return vectors.reshape(*symbols.shape, n_symbols)
