"""Clipping strategies: one file each."""

from lightning_clip.strategies.no_clip import NoClip
from lightning_clip.strategies.norm_clip import NormClip
from lightning_clip.strategies.per_parameter_norm_clip import PerParameterNormClip
from lightning_clip.strategies.value_clip import ValueClip

__all__ = [
    "NoClip",
    "NormClip",
    "PerParameterNormClip",
    "ValueClip",
]
