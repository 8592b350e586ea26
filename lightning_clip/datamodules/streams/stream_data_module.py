"""`StreamDataModule`: the ground of the data that are read as parallel streams."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from lightning.pytorch import LightningDataModule

from lightning_clip._checks import check_count, check_rule
from lightning_clip.datamodules.streams.chunk_lengths import ChunkLengths, FixedLengths
from lightning_clip.datamodules.streams.chunk_loader import ChunkLoader, ChunkSampler
from lightning_clip.datamodules.streams.streams import Part, Streams

Split = Literal["train", "val", "test"]


class StreamDataModule(LightningDataModule, ABC):
    """One long sequence for each of training, validation and testing, read as parallel contiguous streams.

    Each process has its own streams, `batch_size` of them, and all processes have the same number of chunks. Training
    may be interrupted inside an epoch: the loader's position is part of the checkpoint.

    Evaluation takes chunks of at least 256 steps, since it keeps no graph, and no more streams than there are steps.

    Args:
        truncated_bptt_steps: Steps of a chunk: how far gradients flow back.
        batch_size: Parallel streams of each process.
        chunk_lengths: The law of the lengths, when they are random; by default all chunks are equally long.
        val_fraction: Fraction of the sequence to validate on, the one before the last.
        test_fraction: Fraction of the sequence to test on, the last.
        seed: Decides random lengths; `None` takes torch's global seed (`seed_everything`).

    Raises:
        ValueError: An argument is out of range.
        TypeError: An argument is not a whole number.
    """

    def __init__(
        self,
        *,
        truncated_bptt_steps: int,
        batch_size: int,
        chunk_lengths: ChunkLengths | None,
        val_fraction: float,
        test_fraction: float,
        seed: int | None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_count(name, truncated_bptt_steps=truncated_bptt_steps, batch_size=batch_size)
        if seed is not None:
            check_count(name, seed=seed, at_least=0)
        check_rule(
            f"{name}(val_fraction={val_fraction!r}, test_fraction={test_fraction!r})",
            "both must be at least 0, and their sum below 1",
            holds=val_fraction >= 0 and test_fraction >= 0 and val_fraction + test_fraction < 1,
        )
        self.truncated_bptt_steps = truncated_bptt_steps
        self.batch_size = batch_size
        self.chunk_lengths = chunk_lengths
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.seed = seed

    def __str__(self) -> str:  # Lightning's reads all loaders to count what they yield
        return f"{type(self).__name__}(truncated_bptt_steps={self.truncated_bptt_steps}, batch_size={self.batch_size})"

    @abstractmethod
    def part(self, split: Split) -> Part:
        """The sequence of a split.

        Args:
            split: Which one.

        Returns:
            The sequence, or a stretch of it.
        """

    def bounds(self, split: Split, length: int) -> tuple[int, int]:
        """Where a split begins and ends in a sequence that holds all three, in the order train, val, test.

        Args:
            split: Which one.
            length: Elements of the sequence.

        Returns:
            Its first element, and the one after its last.
        """
        val = round(length * (1 - self.val_fraction - self.test_fraction))
        test = round(length * (1 - self.test_fraction))
        return {"train": (0, val), "val": (val, test), "test": (test, length)}[split]

    def train_dataloader(self) -> ChunkLoader:
        """Chunks of `truncated_bptt_steps`, or of random lengths."""
        return self._loader("train", self.truncated_bptt_steps, self.chunk_lengths or FixedLengths())

    def val_dataloader(self) -> ChunkLoader | list[ChunkLoader]:
        """Chunks of at least 256 steps; no loader where `val_fraction` is 0."""
        return self._evaluation_loader("val") if self.val_fraction else []

    def test_dataloader(self) -> ChunkLoader | list[ChunkLoader]:
        """Chunks of at least 256 steps; no loader where `test_fraction` is 0."""
        return self._evaluation_loader("test") if self.test_fraction else []

    def predict_dataloader(self) -> ChunkLoader | list[ChunkLoader]:
        """The same as for testing."""
        return self.test_dataloader()

    def _evaluation_loader(self, split: Split) -> ChunkLoader:
        return self._loader(split, max(self.truncated_bptt_steps, 256), FixedLengths())

    def _loader(self, split: Split, nominal_steps: int, lengths: ChunkLengths) -> ChunkLoader:
        world, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        part = self.part(split)
        rows = self.batch_size if split == "train" else max(1, min(self.batch_size, part.steps // world))
        check_rule(
            f"{type(self).__name__}(batch_size={self.batch_size})",
            f"the {split} sequence has {part.steps} steps, fewer than the {rows * world} streams that it is cut into; "
            "take a longer sequence, a larger fraction or a smaller batch_size",
            holds=rows * world <= part.steps,
        )
        streams = Streams(part, n_streams=rows * world, rows=range(rank * rows, (rank + 1) * rows))
        return ChunkLoader(streams, ChunkSampler(streams.steps, nominal_steps, lengths, seed=self._seed()))

    def _seed(self) -> int:
        """The same for all processes, whose chunks have to have the same lengths."""
        if self.seed is not None:
            return self.seed
        seed = torch.initial_seed()
        return self.trainer.strategy.broadcast(seed) if self.trainer else seed
