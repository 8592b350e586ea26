"""`SequenceTaskDataModule`: the ground of the synthetic tasks with long time lags."""

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
    """Sequences generated when they are asked for: new ones for each training batch, the same ones for each evaluation.

    Each batch is a function of the seed, the epoch and its number, so that a run resumed at the start of an epoch goes
    on with the sequences that an uninterrupted one would see, and the processes of a distributed run share one stream.
    All sequences of a batch have the same length.

    Args:
        length: Length of the sequences, in time steps, as the task counts it.
        max_length: With it, each batch draws its length uniformly from `length` to `max_length`.
        batch_size: Sequences in a training batch.
        batches_per_epoch: Training batches in an epoch: how often Lightning validates.
        n_val: Sequences to validate on.
        n_test: Sequences to test on.
        seed: Seeds the sequences; `None` takes torch's global seed (`seed_everything`).

    Attributes:
        in_features: Numbers at each time step.
        out_features: Classes, or numbers to predict.

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument is not a whole number.
    """

    in_features: int
    out_features: int
    min_length = 1
    """The shortest sequences for which the task is defined."""

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
        self.length = length
        self.max_length = max_length
        self.batch_size = batch_size
        self.batches_per_epoch = batches_per_epoch
        self.n_val = n_val
        self.n_test = n_test
        self.seed = seed

    @abstractmethod
    def draw(self, generator: np.random.Generator, size: int, length: int) -> Arrays:
        """Make sequences.

        Args:
            generator: The only source of chance.
            size: How many.
            length: Of this length, as the task counts it.

        Returns:
            Inputs `(size, steps, in_features)`, and classes `(size,)` or `(size, steps)`, or numbers `(size, 1)`.
        """

    def wrong(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Which sequences a network got wrong: the criterion by which the task counts as solved.

        A class other than the target at any step with a target is wrong, and so is an output that is not finite.

        Args:
            outputs: Scores, `(batch, out_features)` or `(batch, steps, out_features)`.
            targets: Classes, `(batch,)` or `(batch, steps)`.

        Returns:
            Boolean, `(batch,)`.
        """
        misses = (outputs.argmax(dim=-1) != targets) | ~outputs.isfinite().all(dim=-1)
        return misses.reshape(len(misses), -1).any(dim=1)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches that differ in each epoch and process."""
        batches = self._batches("train")
        world, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        sampler = FreshBatches(batches, num_replicas=world, rank=rank)
        # Lightning says the epoch before each one but the first of a fit, which is not 0 in a resumed run.
        sampler.set_epoch(self.trainer.current_epoch if self.trainer else 0)
        return DataLoader(batches, batch_size=None, sampler=sampler, collate_fn=as_is)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The `n_val` sequences, the same each time."""
        return DataLoader(self._batches("val"), batch_size=None, collate_fn=as_is)

    def test_dataloader(self) -> DataLoader[Batch]:
        """The `n_test` sequences, the same each time, drawn apart from those of training and validation."""
        return DataLoader(self._batches("test"), batch_size=None, collate_fn=as_is)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The same as for testing."""
        return self.test_dataloader()

    def _sizes(self) -> dict[str, list[int]]:
        """Sequences in each batch, by split."""
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
    """Sizes of evaluation batches: as few as memory allows, since nothing is learnt from them."""
    whole, rest = divmod(total, largest)
    return [largest] * whole + [rest] * (rest > 0)
