"""See and stop exploding gradients: add two callbacks to a Trainer and read the report when the fit ends.

Remove `GradientClipping` to watch the same network explode.
"""

from lightning.pytorch import Trainer

from lightning_clip import GradientClipping, MLPRegressor, NormClip, RegressionDataModule, RichGradientReport

trainer = Trainer(
    max_epochs=5,
    accelerator="cpu",
    callbacks=[GradientClipping(NormClip(1.0)), RichGradientReport()],
    logger=False,
    enable_checkpointing=False,
)
trainer.fit(MLPRegressor(), RegressionDataModule())
