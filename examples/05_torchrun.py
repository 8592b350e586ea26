"""Run one script on one or several processes: `python 05_torchrun.py`, `torchrun --nproc-per-node=2 05_torchrun.py`.

The script contains no code for several processes. Lightning's DDP reduces the gradients, so every process makes the
same decision on the same numbers. Only process 0 writes the record and prints the report.
"""

import os
import sys
from pathlib import Path

from lightning.pytorch import Trainer

from lightning_clip import GradientClipping, JsonlSink, MLPRegressor, NormClip, RegressionDataModule, RichGradientReport


def main(directory: Path) -> None:
    trainer = Trainer(
        accelerator="cpu",
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),  # the number of processes on this machine
        num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")),  # the number of machines
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[GradientClipping(NormClip(1.0), sinks=[JsonlSink(directory / "run.jsonl")]), RichGradientReport()],
    )
    trainer.fit(MLPRegressor(), RegressionDataModule())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/torchrun"))
