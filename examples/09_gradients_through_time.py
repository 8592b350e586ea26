"""How far back gradients reach: a network in which they explode, one in which they vanish, one that does neither.

Beside the growth rate by the gradient at the layer's inputs stands that by the exact recursion, state by state.
"""

import warnings
from functools import partial

import torch
from lightning.pytorch import Trainer, seed_everything

from lightning_clip import GradientMonitor, LSTMModule, RNNModule, TemporalGradientMonitor, TemporalOrderDataModule
from lightning_clip.reports import render_report, to_text

warnings.filterwarnings("ignore", message=".*does not have many workers.*")

STEPS = 100
SGD = partial(torch.optim.SGD, lr=1e-9)  # so small that the weights stay those at the start
NETWORKS = {
    "ReLU RNN that starts at 1.1 times the identity": lambda: RNNModule(
        6, 4, nonlinearity="relu", init="identity", init_gain=1.1, weight_std=0.1, optimizer=SGD
    ),
    "tanh RNN as torch starts it": lambda: RNNModule(6, 4, optimizer=SGD),
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
    rates = monitor.latest.growth_rate, exact.latest.growth_rate
    print(
        f"  Exactly    {rates[1]:+.4f} per step; by the inputs {rates[0]:+.4f}, {abs(rates[0] - rates[1]):.4f} off\n\n"
    )
