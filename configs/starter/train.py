"""The run of run.yaml as a script: python train.py."""

from lightning.pytorch import Trainer, seed_everything
from network import SeriesLSTM

from lightning_clip import GradientClipping, JsonlSink, NormClip, RichGradientReport, TimeSeriesDataModule

seed_everything(0)
trainer = Trainer(
    max_epochs=2,
    accelerator="auto",
    callbacks=[GradientClipping(NormClip(1.0), sinks=[JsonlSink("runs/train.jsonl")]), RichGradientReport()],
    logger=False,
    enable_checkpointing=False,
)
trainer.fit(SeriesLSTM(), TimeSeriesDataModule())  # TimeSeriesDataModule("my.csv"): your own series
