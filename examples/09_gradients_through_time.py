"""Measure how far back gradients reach in three networks: one explodes, one vanishes and one does neither.

For comparison, the last line of each report also shows the growth rate computed by the exact recursion over the states.
"""

import warnings
from functools import partial

import torch
from lightning.pytorch import Trainer, seed_everything

from lightning_clip import GradientMonitor, LSTMModule, RNNModule, TemporalGradientMonitor, TemporalOrderDataModule
from lightning_clip.reports import render_report, to_text

warnings.filterwarnings("ignore", message=".*does not have many workers.*")

STEPS = 100
SGD = partial(torch.optim.SGD, lr=1e-9)  # so small that the weights stay at their initial values
NETWORKS = {
    "ReLU RNN initialized to 1.1 times the identity": lambda: RNNModule(
        6, 4, nonlinearity="relu", init="identity", init_gain=1.1, weight_std=0.1, optimizer=SGD
    ),
    "tanh RNN with the default initialization of torch": lambda: RNNModule(6, 4, optimizer=SGD),
    "LSTM with forget biases up to log T": lambda: LSTMModule(6, 4, forget_bias="chrono", max_lag=STEPS, optimizer=SGD),
}


def fit(name: str, monitor: TemporalGradientMonitor) -> GradientMonitor:
    seed_everything(0, verbose=False)
    gradients = GradientMonitor()
    trainer = Trainer(
        max_steps=3,
        accelerator="cpu",
        callbacks=[gradients, monitor],
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(NETWORKS[name](), TemporalOrderDataModule(length=STEPS, batch_size=20))
    return gradients


for name in NETWORKS:
    monitor, exact = TemporalGradientMonitor(), TemporalGradientMonitor(exact=True)
    gradients = fit(name, monitor)
    fit(name, exact)
    report = to_text(render_report(gradients.history, gradients.run))
    print(f"{name}: {monitor.latest.flow}\n")
    print(report[report.index("  Gradient through time") : report.index("╭─ Diagnosis")].rstrip())
    measured, exact_rate = monitor.latest.growth_rate, exact.latest.growth_rate
    off = abs(measured - exact_rate)
    print(f"  Exact      {exact_rate:+.4f} per step of lag; measured {measured:+.4f}, off by {off:.4f}\n\n")
