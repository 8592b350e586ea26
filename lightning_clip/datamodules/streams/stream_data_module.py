"""`StreamDataModule`: the base class of data modules that read a sequence as parallel streams."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from lightning.pytorch import LightningDataModule

from lightning_clip._checks import check_count, check_rule
from lightning_clip.datamodules._splits import check_fractions, split_edges
from lightning_clip.datamodules.streams.chunk_lengths import ChunkLengths, FixedLengths
from lightning_clip.datamodules.streams.chunk_loader import ChunkLoader, ChunkSampler
from lightning_clip.datamodules.streams.streams import Part, Streams

Split = Literal["train", "val", "test"]


class StreamDataModule(LightningDataModule, ABC):
    """One long sequence for each of training, validation and testing, read as parallel contiguous streams.

    Each process has `batch_size` streams of its own, and all processes have the same number of chunks. Training can
    stop and resume within an epoch, because checkpoints hold the loader's position.

    Evaluation uses chunks of at least 256 steps, because it keeps no graph, and at most one stream per step.

    Args:
        truncated_bptt_steps: Length of a chunk, in steps: how far back gradients flow.
        batch_size: Number of parallel streams of each process.
        chunk_lengths: Draws chunks of random length, for instance `NormalLengths()`; `None` for equally long chunks.
        seed: Seeds random chunk lengths; `None` uses torch's global seed (`seed_everything`).
        val_fraction: Fraction of the sequence to validate on, just before the test part.
        test_fraction: Fraction of the sequence to test on, at its end.

    Raises:
        ArgumentError: An argument is out of range.
        ArgumentTypeError: An argument is not a whole number.
    """

    def __init__(
        self,
        *,
        truncated_bptt_steps: int = 64,
        batch_size: int = 32,
        chunk_lengths: ChunkLengths | None = None,
        seed: int | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_fractions(name, val_fraction, test_fraction)
        check_count(name, truncated_bptt_steps=truncated_bptt_steps, batch_size=batch_size)
        if seed is not None:
            check_count(name, seed=seed, at_least=0)
        self.save_hyperparameters(ignore=["sequence", "targets", "document_starts", "chunk_lengths"])
        self.truncated_bptt_steps = truncated_bptt_steps
        self.batch_size = batch_size
        self.chunk_lengths = chunk_lengths
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.seed = seed

    def __str__(self) -> str:  # Lightning's reads all loaders to count their batches
        return f"{type(self).__name__}(truncated_bptt_steps={self.truncated_bptt_steps}, batch_size={self.batch_size})"

    @abstractmethod
    def part(self, split: Split) -> Part:
        """The part of the sequence that belongs to a split.

        Args:
            split: The split to read.

        Returns:
            The sequence and the bounds of the part.
        """

    def bounds(self, split: Split, length: int) -> tuple[int, int]:
        """Where a split starts and ends in a sequence that holds all three, in the order train, val, test.

        Args:
            split: The split to look up.
            length: Number of elements of the sequence.

        Returns:
            The index of its first element, and the index after its last.
        """
        val, test = split_edges(length, self.val_fraction, self.test_fraction)
        return {"train": (0, val), "val": (val, test), "test": (test, length)}[split]

    def train_dataloader(self) -> ChunkLoader:
        """Chunks of `truncated_bptt_steps`, or of random lengths."""
        return self._loader("train", self.truncated_bptt_steps, self.chunk_lengths or FixedLengths())

    def val_dataloader(self) -> ChunkLoader | list[ChunkLoader]:
        """Chunks of at least 256 steps; no loader if `val_fraction` is 0."""
        return self._evaluation_loader("val") if self.val_fraction else []

    def test_dataloader(self) -> ChunkLoader | list[ChunkLoader]:
        """Chunks of at least 256 steps; no loader if `test_fraction` is 0."""
        return self._evaluation_loader("test") if self.test_fraction else []

    def predict_dataloader(self) -> ChunkLoader | list[ChunkLoader]:
        """The test chunks."""
        return self.test_dataloader()

    def _evaluation_loader(self, split: Split) -> ChunkLoader:
        return self._loader(split, max(self.truncated_bptt_steps, 256), FixedLengths())

    def _loader(self, split: Split, nominal_steps: int, lengths: ChunkLengths) -> ChunkLoader:
        world, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        part = self.part(split)
        rows = self.batch_size if split == "train" else max(1, min(self.batch_size, part.steps // world))
        path = getattr(self, "path", None)
        named = f"path={path!r}, " if path else ""
        check_rule(
            f"{type(self).__name__}({named}batch_size={self.batch_size})",
            f"the {split} sequence has {part.steps} steps, too few for {rows * world} streams; "
            "use a longer sequence, a larger fraction or a smaller batch_size",
            holds=rows * world <= part.steps,
        )
        streams = Streams(part, n_streams=rows * world, rows=range(rank * rows, (rank + 1) * rows))
        return ChunkLoader(streams, ChunkSampler(streams.steps, nominal_steps, lengths, seed=self._seed()))

    def _seed(self) -> int:
        """The same seed for all processes, so that their chunks have the same lengths."""
        if self.seed is not None:
            return self.seed
        seed = torch.initial_seed()
        return self.trainer.strategy.broadcast(seed) if self.trainer else seed
