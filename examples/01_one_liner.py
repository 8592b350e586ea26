"""See and stop exploding gradients: two callbacks in a Trainer, and a report in the terminal when the fit ends.

Leave `GradientClipping` out to watch the same network explode.
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
