"""`SequenceTaskDataModule`: the base class of the synthetic tasks with long time lags."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_clip._checks import check_count, check_rule
from lightning_clip.datamodules._generated_batches import Arrays, FreshBatches, GeneratedBatches
from lightning_clip.datamodules._tensor_rows import Batch, as_is


class SequenceTaskDataModule(LightningDataModule, ABC):
    """Sequences generated on demand: new ones for every training batch, the same ones for every evaluation.

    Each batch depends only on the seed, the epoch and its number. A run resumed at the start of an epoch therefore
    sees the same sequences as an uninterrupted run, and the processes of a distributed run share one stream of batches.
    All sequences of a batch have the same length.

    Args:
        length: Length of the sequences, in time steps, as the task defines it.
        max_length: If given, each batch draws its length uniformly from `length` to `max_length`.
        batch_size: Number of sequences in a training batch.
        batches_per_epoch: Number of training batches in an epoch.
        n_val: Number of sequences to validate on.
        n_test: Number of sequences to test on.
        seed: Seeds the sequences; `None` uses torch's global seed (`seed_everything`).

    Attributes:
        in_features: Number of inputs at each time step.
        out_features: Number of classes, or of values to predict.

    Raises:
        ArgumentError: An argument is out of range.
        ArgumentTypeError: An argument is not a whole number.
    """

    in_features: int
    out_features: int
    min_length = 1
    """Smallest `length` for which the task is defined."""

    def __init__(
        self,
        length: int = 100,
        *,
        max_length: int | None = None,
        batch_size: int = 20,
        batches_per_epoch: int = 250,
        n_val: int = 1_000,
        n_test: int = 10_000,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_count(name, length=length, at_least=self.min_length)
        check_count(name, batch_size=batch_size, batches_per_epoch=batches_per_epoch, n_val=n_val, n_test=n_test)
        if max_length is not None:
            call = f"{name}(length={length!r}, max_length={max_length!r})"
            check_rule(call, "max_length must be at least length", holds=max_length >= length)
        if seed is not None:
            check_count(name, seed=seed, at_least=0)
        self.save_hyperparameters()
        self.length, self.max_length = length, max_length
        self.batch_size = batch_size
        self.batches_per_epoch = batches_per_epoch
        self.n_val, self.n_test = n_val, n_test
        self.seed = seed

    @abstractmethod
    def draw(self, generator: np.random.Generator, size: int, length: int) -> Arrays:
        """Generate sequences.

        Args:
            generator: The only source of randomness.
            size: Number of sequences.
            length: Length of the sequences, as the task defines it.

        Returns:
            Inputs `(size, steps, in_features)`, and targets: classes `(size,)` or `(size, steps)`, or numbers
            `(size, 1)`.
        """

    def wrong(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Which sequences the network got wrong. The fraction of them decides whether the task is solved.

        A sequence is wrong if the predicted class differs from the target at any step, or if an output is NaN or
        infinite.

        Args:
            outputs: Logits, `(batch, out_features)` or `(batch, steps, out_features)`.
            targets: Classes, `(batch,)` or `(batch, steps)`.

        Returns:
            Boolean, `(batch,)`.
        """
        misses = (outputs.argmax(dim=-1) != targets) | ~outputs.isfinite().all(dim=-1)
        return misses.reshape(len(misses), -1).any(dim=1)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Training batches, new ones in every epoch and process."""
        batches = self._batches("train")
        world, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        sampler = FreshBatches(batches, num_replicas=world, rank=rank)
        # Lightning calls set_epoch before every epoch but the first of a fit, which is not epoch 0 in a resumed run.
        sampler.set_epoch(self.trainer.current_epoch if self.trainer else 0)
        return DataLoader(batches, batch_size=None, sampler=sampler, collate_fn=as_is)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The `n_val` sequences, the same every time."""
        return DataLoader(self._batches("val"), batch_size=None, collate_fn=as_is)

    def test_dataloader(self) -> DataLoader[Batch]:
        """The `n_test` sequences, the same every time, drawn separately from those for training and validation."""
        return DataLoader(self._batches("test"), batch_size=None, collate_fn=as_is)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The test batches."""
        return self.test_dataloader()

    def _sizes(self) -> dict[str, list[int]]:
        """Number of sequences in each batch, by split."""
        train = [self.batch_size] * self.batches_per_epoch
        return {"train": train, "val": _portions(self.n_val), "test": _portions(self.n_test)}

    def _batches(self, split: str) -> GeneratedBatches:
        sizes = self._sizes()
        seed = torch.initial_seed() if self.seed is None else self.seed
        return GeneratedBatches(self._draw, sizes[split], (seed, list(sizes).index(split)))

    def _draw(self, generator: np.random.Generator, size: int) -> Arrays:
        longest = self.length if self.max_length is None else self.max_length
        return self.draw(generator, size, int(generator.integers(self.length, longest + 1)))


def _portions(total: int, largest: int = 500) -> list[int]:
    """Sizes of evaluation batches: few and large, since evaluation keeps no graph."""
    whole, rest = divmod(total, largest)
    return [largest] * whole + [rest] * (rest > 0)
