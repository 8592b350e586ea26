"""LightningModules to compare: one file each."""

from lightning_clip.modules.mlp import MLPRegressor
from lightning_clip.modules.optimized_module import OptimizedModule

__all__ = [
    "MLPRegressor",
    "OptimizedModule",
]
