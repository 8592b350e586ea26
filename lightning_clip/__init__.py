"""See, clip and explain gradients in PyTorch Lightning: the names that most programs need.

Import everything else from its room: `lightning_clip.core`, `.functional`, `.modules`, `.reports`, `.studies`, …
"""

from typing import TYPE_CHECKING

from lightning_clip._lazy import lazy_names
from lightning_clip._version import __version__

if TYPE_CHECKING:
    from lightning_clip.callbacks import (
        BadStepCapture,
        ClipThresholdFinder,
        DivergenceRollback,
        GradientClipping,
        GradientMonitor,
        LoggerReport,
        NonFiniteGuard,
        RecurrentSpectrumMonitor,
        RichGradientReport,
        SkipBatches,
        StrategySwitcher,
        TemporalGradientMonitor,
        UpdateMonitor,
    )
    from lightning_clip.core import (
        Action,
        Clamp,
        ClipStrategy,
        Gradients,
        Keep,
        Ladder,
        Scale,
        ScaleEach,
        SpikeDetector,
        clip_,
    )
    from lightning_clip.datamodules import (
        AddingProblemDataModule,
        CharTextDataModule,
        Chunk,
        ChunkedSequenceDataModule,
        MemorizationDataModule,
        MultiplicationDataModule,
        RandomPermutationDataModule,
        RegressionDataModule,
        SequentialDigitsDataModule,
        TemporalOrderDataModule,
        TimeSeriesDataModule,
    )
    from lightning_clip.modules import (
        GRUModule,
        LSTMModule,
        MLPRegressor,
        RNNModule,
        StatefulMixin,
        TBPTTModule,
        TBPTTSequenceModule,
        TruncatedBPTTMixin,
    )
    from lightning_clip.replays.replay import replay
    from lightning_clip.reports.record import RunRecord, load_record
    from lightning_clip.sinks import AlertSink, CsvSink, JsonlSink, WebhookSink, read_jsonl
    from lightning_clip.strategies import *

__all__ = [
    "AGC",
    "Action",
    "AdaGC",
    "AdaptiveMaxClip",
    "AdaptiveSpectralClip",
    "AddingProblemDataModule",
    "AlertSink",
    "AutoClip",
    "BadStepCapture",
    "Blend",
    "Chain",
    "CharTextDataModule",
    "Chunk",
    "ChunkedSequenceDataModule",
    "Clamp",
    "ClipStrategy",
    "ClipThresholdFinder",
    "CoordinateClip",
    "CsvSink",
    "DivergenceRollback",
    "EmaRatioClip",
    "GRUModule",
    "GradientClipping",
    "GradientMonitor",
    "Gradients",
    "GroupEmaClip",
    "GroupNormClip",
    "GrowthLimitClip",
    "JsonlSink",
    "Keep",
    "LSTMModule",
    "Ladder",
    "LoggerReport",
    "MLPRegressor",
    "MemorizationDataModule",
    "MultiplicationDataModule",
    "NoClip",
    "NonFiniteGuard",
    "NormClip",
    "NormalizeAdaGN",
    "NormalizeGradient",
    "PerParameterNormClip",
    "PerParameterRatioClip",
    "QuantileClip",
    "RNNModule",
    "RandomPermutationDataModule",
    "RecurrentSpectrumMonitor",
    "RegressionDataModule",
    "RichGradientReport",
    "RobustClip",
    "RunRecord",
    "Scale",
    "ScaleEach",
    "SequentialDigitsDataModule",
    "Shadow",
    "SkipAbove",
    "SkipBatches",
    "SkipSpikes",
    "SoftClip",
    "SpectralClip",
    "SpikeClip",
    "SpikeDetector",
    "StatefulMixin",
    "StrategySchedule",
    "StrategySwitcher",
    "TBPTTModule",
    "TBPTTSequenceModule",
    "TemporalGradientMonitor",
    "TemporalOrderDataModule",
    "ThresholdSchedule",
    "Tightest",
    "TimeSeriesDataModule",
    "TruncatedBPTTMixin",
    "UpdateMonitor",
    "UpdateRMSClip",
    "ValueClip",
    "WebhookSink",
    "ZClip",
    "clip_",
    "load_record",
    "read_jsonl",
    "replay",
]

# A room is imported when one of its names is first used: reading a record needs neither Lightning nor a model, and
# training needs no reports.
__getattr__, __dir__ = lazy_names(
    __name__,
    ["core", "strategies", "sinks", "callbacks", "modules", "datamodules"],
    offered=__all__,
    elsewhere={"RunRecord": "reports.record", "load_record": "reports.record", "replay": "replays.replay"},
)
