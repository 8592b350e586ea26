"""The network of the first reference without clipping: the norm explodes from the first step on, and becomes NaN."""

import torch

from lightning_clip import MLPRegressor, RegressionDataModule, RunRecord
from tests.reports.sick_runs.kit import fitted

KIND = "explosion"
SAYS = ["exploded", "NaN"]


def train() -> RunRecord:
    torch.manual_seed(2)
    return fitted(MLPRegressor(), RegressionDataModule(), epochs=4)
