"""Pure functions on tensors: norms, clip coefficients, gradient flow through time, spectra."""

from lightning_clip.functional.gradient_flow import gradient_flow
from lightning_clip.functional.norms import combine_norms, tensor_norms, total_norm, unit_norms
from lightning_clip.functional.scaling import clip_coef, finite_or
from lightning_clip.functional.spectral import largest_singular_value, spectral_radius
from lightning_clip.functional.temporal import growth_rate, half_life, horizon, norms_by_lag, span

__all__ = [
    "clip_coef",
    "combine_norms",
    "finite_or",
    "gradient_flow",
    "growth_rate",
    "half_life",
    "horizon",
    "largest_singular_value",
    "norms_by_lag",
    "span",
    "spectral_radius",
    "tensor_norms",
    "total_norm",
    "unit_norms",
]
