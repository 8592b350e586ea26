"""Pure functions on tensors: norms, factors, gradients through time. No state, no Lightning, no console."""

from lightning_clip.functional.gradient_flow import gradient_flow
from lightning_clip.functional.norms import combine_norms, tensor_norms, total_norm, unit_norms
from lightning_clip.functional.scaling import clip_coef, finite_or
from lightning_clip.functional.temporal import growth_rate, half_life, horizon, norms_by_lag, span

__all__ = [
    "clip_coef",
    "combine_norms",
    "finite_or",
    "gradient_flow",
    "growth_rate",
    "half_life",
    "horizon",
    "norms_by_lag",
    "span",
    "tensor_norms",
    "total_norm",
    "unit_norms",
]
