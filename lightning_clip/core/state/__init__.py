"""State of adaptive strategies, kept in buffers: windows, moving averages, numbers per parameter and per element."""

from lightning_clip.core.state.explosions import (
    EXPLOSION,
    ExplosionCount,
    ExplosionTable,
    check_explosion,
    explosion_enters,
)
from lightning_clip.core.state.first_values import FirstValues
from lightning_clip.core.state.per_element import PerElement
from lightning_clip.core.state.per_parameter import ALL_PARAMETERS, PerParameter
from lightning_clip.core.state.policy import POLICIES, HistoryPolicy, Intake, has_signal, to_store
from lightning_clip.core.state.quantile_sketch import QuantileSketch
from lightning_clip.core.state.running_estimates import RunningEstimates
from lightning_clip.core.state.skip_budget import SkipBudget
from lightning_clip.core.state.state import State
from lightning_clip.core.state.window import Window

__all__ = [
    "ALL_PARAMETERS",
    "EXPLOSION",
    "POLICIES",
    "ExplosionCount",
    "ExplosionTable",
    "FirstValues",
    "HistoryPolicy",
    "Intake",
    "PerElement",
    "PerParameter",
    "QuantileSketch",
    "RunningEstimates",
    "SkipBudget",
    "State",
    "Window",
    "check_explosion",
    "explosion_enters",
    "has_signal",
    "to_store",
]
