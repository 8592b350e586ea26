"""Pure functions on tensors: norms and scaling coefficients. No state, no Lightning, no console."""

from lightning_clip.functional.norms import combine_norms, tensor_norms, total_norm, unit_norms
from lightning_clip.functional.scaling import clip_coef, finite_or

__all__ = ["clip_coef", "combine_norms", "finite_or", "tensor_norms", "total_norm", "unit_norms"]
