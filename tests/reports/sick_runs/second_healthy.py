"""Four more runs that train well, written before the rules were looked at again."""

import torch
from torch import nn

from lightning_clip import RunRecord
from tests.reports.sick_runs.kit import LastState, Trained, fitted, linear_task, rows_of


def normalized_classifier() -> RunRecord:
    """BatchNorm, dropout and AdamW on two classes."""
    inputs, targets = linear_task(320, 8, seed=21)
    net = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 2))
    module = Trained(net, nn.functional.cross_entropy, lambda params: torch.optim.AdamW(params, lr=3e-3))
    return fitted(module, rows_of(inputs, (targets[:, 0] > 0).long(), shuffle=True), epochs=10)


def warmed_and_annealed() -> RunRecord:
    """A rate that rises and falls in one cycle."""
    inputs, targets = linear_task(320, 8, seed=22)

    def optimizer(params):
        sgd = torch.optim.SGD(params, lr=0.01, momentum=0.9)
        return [sgd], [{"scheduler": torch.optim.lr_scheduler.OneCycleLR(sgd, 0.05, 200), "interval": "step"}]

    net = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 1))
    return fitted(Trained(net, nn.functional.mse_loss, optimizer), rows_of(inputs, targets, shuffle=True), epochs=10)


def small_noisy_batches() -> RunRecord:
    """Batches of two samples whose targets are half noise."""
    inputs, targets = linear_task(400, 6, noise=1.0, seed=23)
    net = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
    module = Trained(net, nn.functional.mse_loss, lambda params: torch.optim.Adam(params, lr=3e-3))
    return fitted(module, rows_of(inputs, targets, batch_size=2, shuffle=True), epochs=2)


def short_gru() -> RunRecord:
    """A GRU that averages eight numbers."""
    inputs = torch.randn(320, 8, 2)
    module = Trained(
        LastState(nn.GRU(2, 16, batch_first=True)),
        nn.functional.mse_loss,
        lambda params: torch.optim.Adam(params, lr=0.01),
    )
    return fitted(module, rows_of(inputs, 2 * inputs[..., :1].mean(1), shuffle=True), epochs=8)


HEALTHY = [normalized_classifier, warmed_and_annealed, small_noisy_batches, short_gru]
