"""Predict the next values of a series from a CSV file: `python 12_csv_series.py [FILE]`.

Without a file, it writes one with a column to read and a column to predict.
"""

import csv
import math
import sys
import warnings
from pathlib import Path

from lightning.pytorch import Trainer, seed_everything

from lightning_clip import GradientClipping, LSTMModule, RichGradientReport, TimeSeriesDataModule, ZClip

warnings.filterwarnings("ignore", message=".*does not have many workers.*")
path = Path(sys.argv[1] if len(sys.argv) > 1 else "series.csv")
if len(sys.argv) < 2:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["wind", "power"])
        rows.writerows([math.sin(t / 9), math.sin((t - 3) / 9) ** 3] for t in range(600))

seed_everything(0, verbose=False)
data = TimeSeriesDataModule(path, window=32, horizon=4)  # columns=["wind"], targets=["power"] choose some of them
data.setup("fit")
model = LSTMModule(data.in_features, data.out_features, task="regression", many_to_many=True, hidden_size=32)
trainer = Trainer(
    max_epochs=2,
    accelerator="cpu",
    callbacks=[GradientClipping(ZClip()), RichGradientReport()],
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(model, data)
(metrics,) = trainer.test(model, data, verbose=False)
print("  ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
