"""Clipping strategies, one per file."""

from lightning_clip.strategies.ada_gc import AdaGC
from lightning_clip.strategies.adaptive_max_clip import AdaptiveMaxClip
from lightning_clip.strategies.adaptive_spectral_clip import AdaptiveSpectralClip
from lightning_clip.strategies.agc import AGC
from lightning_clip.strategies.auto_clip import AutoClip
from lightning_clip.strategies.blend import Blend
from lightning_clip.strategies.chain import Chain
from lightning_clip.strategies.coordinate_clip import CoordinateClip
from lightning_clip.strategies.ema_ratio_clip import EmaRatioClip
from lightning_clip.strategies.group_ema_clip import GroupEmaClip
from lightning_clip.strategies.group_norm_clip import GroupNormClip
from lightning_clip.strategies.growth_limit_clip import GrowthLimitClip
from lightning_clip.strategies.no_clip import NoClip
from lightning_clip.strategies.norm_clip import NormClip
from lightning_clip.strategies.normalize_ada_gn import NormalizeAdaGN
from lightning_clip.strategies.normalize_gradient import NormalizeGradient
from lightning_clip.strategies.per_parameter_norm_clip import PerParameterNormClip
from lightning_clip.strategies.per_parameter_ratio_clip import PerParameterRatioClip
from lightning_clip.strategies.quantile_clip import QuantileClip
from lightning_clip.strategies.robust_clip import RobustClip
from lightning_clip.strategies.shadow import Shadow
from lightning_clip.strategies.skip_above import SkipAbove
from lightning_clip.strategies.skip_spikes import SkipSpikes
from lightning_clip.strategies.soft_clip import SoftClip
from lightning_clip.strategies.spectral_clip import SpectralClip
from lightning_clip.strategies.spike_clip import SpikeClip
from lightning_clip.strategies.strategy_schedule import StrategySchedule
from lightning_clip.strategies.threshold_schedule import ThresholdSchedule
from lightning_clip.strategies.tightest import Tightest
from lightning_clip.strategies.update_rms_clip import UpdateRMSClip
from lightning_clip.strategies.value_clip import ValueClip
from lightning_clip.strategies.z_clip import ZClip

__all__ = [
    "AGC",
    "AdaGC",
    "AdaptiveMaxClip",
    "AdaptiveSpectralClip",
    "AutoClip",
    "Blend",
    "Chain",
    "CoordinateClip",
    "EmaRatioClip",
    "GroupEmaClip",
    "GroupNormClip",
    "GrowthLimitClip",
    "NoClip",
    "NormClip",
    "NormalizeAdaGN",
    "NormalizeGradient",
    "PerParameterNormClip",
    "PerParameterRatioClip",
    "QuantileClip",
    "RobustClip",
    "Shadow",
    "SkipAbove",
    "SkipSpikes",
    "SoftClip",
    "SpectralClip",
    "SpikeClip",
    "StrategySchedule",
    "ThresholdSchedule",
    "Tightest",
    "UpdateRMSClip",
    "ValueClip",
    "ZClip",
]
