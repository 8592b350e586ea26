"""A network that some steps poison."""

import math

from tests.support.training import Net


class Poisoned(Net):
    """Multiplies the loss at the given steps by a factor, NaN by default."""

    def __init__(self, *, steps=(), factor=math.nan, kind="sgd", **options) -> None:
        super().__init__(kind, **{"lr": 0.01, **options})
        self.bad_steps, self.factor = set(steps), factor

    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) * (self.factor if self.global_step in self.bad_steps else 1.0)
