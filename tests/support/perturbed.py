"""Studies whose runs round differently, as they do on another CPU, or draw other random numbers."""

from dataclasses import replace
from math import inf

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_clip.studies import Study


class LastBit(Callback):
    """Moves every weight to the next larger number before the first step."""

    @torch.no_grad()
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for param in pl_module.parameters():
            param.copy_(torch.nextafter(param, torch.full_like(param, inf)))


def with_another_last_bit(study: Study) -> Study:
    """The study with the last bit of every weight changed; experiments that train nothing stay as they are."""
    more = {"class_path": f"{__name__}.LastBit"}
    settings = [
        {**one, "callbacks": [*one["callbacks"], more]} if "callbacks" in one else one for one in study.settings
    ]
    return replace(study, callbacks=[*study.callbacks, more], settings=settings)


def with_other_seeds(study: Study) -> Study:
    """The study with other initial weights and another order of the data."""
    return replace(study, first_seed=study.first_seed + 1000)
