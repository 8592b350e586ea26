"""Experiments: what a study may do in each cell instead of a plain training."""

from typing import TYPE_CHECKING

from lightning_clip._lazy import lazy_names

if TYPE_CHECKING:
    from lightning_clip.studies.experiments.cliff import *
    from lightning_clip.studies.experiments.gradient_flow import *
    from lightning_clip.studies.experiments.truncation_bias import *

__getattr__, __dir__ = lazy_names(__name__, ["cliff", "gradient_flow", "truncation_bias"])
