"""Write your own clipping strategy: a class with one method that takes the gradients and returns what to do with them.

Its state is a buffer, so it moves with the model and is saved in checkpoints. Its arguments are stored as attributes of
the same name, which its `repr` shows. The record, the report, several optimizers and resuming work without more code.
"""

import torch
from lightning.pytorch import Trainer

from lightning_clip import ClipStrategy, GradientClipping, MLPRegressor, RegressionDataModule, RichGradientReport, Scale
from lightning_clip.functional import clip_coef


class GrowSlowly(ClipStrategy):
    """Let the total norm grow by at most `factor` from one step to the next."""

    def __init__(self, factor: float = 1.05, start: float = 1.0) -> None:
        super().__init__()
        self.factor, self.start = factor, start
        self.register_buffer("limit", torch.tensor(start))

    def decide(self, grads):
        norm, limit = grads.total_norm(), self.limit.clone()
        self.limit.copy_(torch.where(norm.isfinite(), self.factor * norm.clamp(max=limit), limit))
        return Scale(clip_coef(norm, limit), limit)


trainer = Trainer(
    max_epochs=5,
    accelerator="cpu",
    callbacks=[GradientClipping(GrowSlowly(1.05)), RichGradientReport()],
    logger=False,
    enable_checkpointing=False,
)
trainer.fit(MLPRegressor(), RegressionDataModule())
