"""Find the sample behind a loss spike: capture the bad step, take it again, and leave the sample out on a rerun.

Sample 333 of 640 has a bad target. The data is shuffled, so the spike comes in another batch of each epoch.
"""

from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from torch.utils.data import DataLoader, TensorDataset

from lightning_clip import BadStepCapture, GradientMonitor, MLPRegressor, SkipBatches, replay


def fit(*callbacks):
    seed_everything(0, verbose=False)
    inputs = torch.randn(640, 8)
    targets = inputs.sum(dim=1, keepdim=True)
    targets[333] = 1e4
    monitor = GradientMonitor()
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        callbacks=[monitor, *callbacks],
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = MLPRegressor(8, optimizer=lambda params: torch.optim.Adam(params, lr=1e-3))
    trainer.fit(module, DataLoader(TensorDataset(inputs, targets), batch_size=16, shuffle=True))
    return module, max(record.norm_before for record in monitor.history if not record.skipped)


capture = BadStepCapture(keep=1, folder=Path("runs/bad_steps"))
module, largest = fit(capture)
result = replay(capture.paths[0], module)
print(result)
print(f"Exact: {result.is_exact}. Worst sample: {result.worst.index}.")

_, without = fit(SkipBatches(samples={result.worst.index}))
print(f"The largest norm was {largest:.3g}; without that sample, {without:.3g}.")
