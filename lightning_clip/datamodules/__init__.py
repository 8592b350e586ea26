"""Data to train on: one file each."""

from lightning_clip.datamodules.adding_problem import AddingProblemDataModule
from lightning_clip.datamodules.memorization import MemorizationDataModule
from lightning_clip.datamodules.multiplication import MultiplicationDataModule
from lightning_clip.datamodules.random_permutation import RandomPermutationDataModule
from lightning_clip.datamodules.regression import RegressionDataModule
from lightning_clip.datamodules.sequence_task import SequenceTaskDataModule
from lightning_clip.datamodules.sequential_digits import SequentialDigitsDataModule
from lightning_clip.datamodules.temporal_order import TemporalOrderDataModule

__all__ = [
    "AddingProblemDataModule",
    "MemorizationDataModule",
    "MultiplicationDataModule",
    "RandomPermutationDataModule",
    "RegressionDataModule",
    "SequenceTaskDataModule",
    "SequentialDigitsDataModule",
    "TemporalOrderDataModule",
]
