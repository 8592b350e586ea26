"""Pure functions on tensors: norms, scaling coefficients, spectra. No state, no Lightning, no console."""

from lightning_clip.functional.norms import combine_norms, tensor_norms, total_norm, unit_norms
from lightning_clip.functional.scaling import clip_coef, finite_or
from lightning_clip.functional.spectral import largest_singular_value, spectral_radius

__all__ = [
    "clip_coef",
    "combine_norms",
    "finite_or",
    "largest_singular_value",
    "spectral_radius",
    "tensor_norms",
    "total_norm",
    "unit_norms",
]
