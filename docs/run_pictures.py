"""The pictures of runs in the guide to reports. `python docs/run_pictures.py` trains both runs and draws them."""

import warnings
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from picture_files import save_png
from torch.utils.data import DataLoader

from lightning_clip import (
    AddingProblemDataModule,
    Chain,
    ClipStrategy,
    GradientClipping,
    NoClip,
    NormClip,
    RNNModule,
    RunRecord,
    SkipAbove,
    StrategySwitcher,
    TemporalGradientMonitor,
    UpdateMonitor,
)

TARGET = Path(__file__).parent / "pictures" / "runs"
LENGTH, STEPS = 50, 800
WRONG_TARGETS = {120: 3_000.0, 320: 20.0, 321: 20.0, 322: 20.0, 480: 3_000.0, 640: 20.0}
"""The batches in which the target of the first sequence is wrong, and what it is."""


def train(strategy: ClipStrategy, *callbacks: Callback) -> RunRecord:
    """Train an RNN on the adding problem, with a few wrong targets."""
    seed_everything(0, verbose=False)
    data = AddingProblemDataModule(length=LENGTH, batches_per_epoch=STEPS, n_test=1)
    data.setup("fit")
    batches = [[part.clone() for part in batch] for batch in data.train_dataloader()]
    for place, target in WRONG_TARGETS.items():
        batches[place][1][0] = target
    clipping = GradientClipping(strategy)
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[clipping, *callbacks],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = RNNModule(2, 1, task="regression", hidden_size=32, optimizer=lambda params: torch.optim.Adam(params, 0.002))
    trainer.fit(model, DataLoader(batches, batch_size=None))
    return clipping.record


def main() -> None:
    """Write the picture of a run with everything that a figure marks, and of two runs side by side."""
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    monitors = [TemporalGradientMonitor(every_n_steps=25), UpdateMonitor(every_n_steps=25)]
    skips = Chain([SkipAbove(50.0), NormClip(1.0)])
    switched = train(skips, StrategySwitcher([Chain([SkipAbove(50.0), NormClip(0.3)])]), *monitors)
    TARGET.mkdir(parents=True, exist_ok=True)
    save_png(switched.figure(), TARGET / "run.png")
    both = train(NoClip()).compare(switched, names=["no clipping", "with clipping"])
    save_png(both.figure(), TARGET / "two-runs.png")


if __name__ == "__main__":
    main()
