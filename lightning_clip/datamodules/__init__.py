"""Data modules to train on, one file each."""

from lightning_clip.datamodules.adding_problem import AddingProblemDataModule
from lightning_clip.datamodules.char_text import CharTextDataModule
from lightning_clip.datamodules.chunked_sequence import ChunkedSequenceDataModule
from lightning_clip.datamodules.memorization import MemorizationDataModule
from lightning_clip.datamodules.multiplication import MultiplicationDataModule
from lightning_clip.datamodules.random_permutation import RandomPermutationDataModule
from lightning_clip.datamodules.regression import RegressionDataModule
from lightning_clip.datamodules.sequence_task import SequenceTaskDataModule
from lightning_clip.datamodules.sequential_digits import SequentialDigitsDataModule
from lightning_clip.datamodules.streams.chunk import Chunk
from lightning_clip.datamodules.streams.chunk_lengths import ChunkLengths, FixedLengths, NormalLengths, RandomTruncation
from lightning_clip.datamodules.temporal_order import TemporalOrderDataModule
from lightning_clip.datamodules.time_series import TimeSeriesDataModule

__all__ = [
    "AddingProblemDataModule",
    "CharTextDataModule",
    "Chunk",
    "ChunkLengths",
    "ChunkedSequenceDataModule",
    "FixedLengths",
    "MemorizationDataModule",
    "MultiplicationDataModule",
    "NormalLengths",
    "RandomPermutationDataModule",
    "RandomTruncation",
    "RegressionDataModule",
    "SequenceTaskDataModule",
    "SequentialDigitsDataModule",
    "TemporalOrderDataModule",
    "TimeSeriesDataModule",
]
