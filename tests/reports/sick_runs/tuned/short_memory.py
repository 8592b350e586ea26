"""A tanh network with small recurrent weights on sequences whose first step matters: the gradient vanishes in time."""

import torch

from lightning_clip import RNNModule, RunRecord, TemporalGradientMonitor, TemporalOrderDataModule
from tests.reports.sick_runs.kit import fitted

KIND = "temporal-vanishing"
SAYS = ["vanishes through time"]


def train() -> RunRecord:
    torch.manual_seed(4)
    data = TemporalOrderDataModule(40, batch_size=8, batches_per_epoch=40, n_val=8, n_test=8)
    model = RNNModule(data.in_features, data.out_features, hidden_size=16, init="orthogonal", init_gain=0.4)
    return fitted(model, data, epochs=1, also=[TemporalGradientMonitor(every_n_steps=20)])
