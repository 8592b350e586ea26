"""See, clip and explain gradients in PyTorch Lightning: the names that most programs need.

Everything else is imported from its room: `lightning_clip.core`, `.functional`, `.modules`, `.reports`, `.studies`, …
"""

from typing import TYPE_CHECKING

from lightning_clip._lazy import lazy_names
from lightning_clip._version import __version__

if TYPE_CHECKING:
    from lightning_clip.callbacks import (
        DivergenceRollback as DivergenceRollback,
    )
    from lightning_clip.callbacks import (
        GradientClipping as GradientClipping,
    )
    from lightning_clip.callbacks import (
        GradientMonitor as GradientMonitor,
    )
    from lightning_clip.callbacks import (
        NonFiniteGuard as NonFiniteGuard,
    )
    from lightning_clip.callbacks import (
        RecurrentSpectrumMonitor as RecurrentSpectrumMonitor,
    )
    from lightning_clip.callbacks import (
        RichGradientReport as RichGradientReport,
    )
    from lightning_clip.callbacks import (
        StrategySwitcher as StrategySwitcher,
    )
    from lightning_clip.callbacks import (
        TemporalGradientMonitor as TemporalGradientMonitor,
    )
    from lightning_clip.core import (
        Action as Action,
    )
    from lightning_clip.core import (
        Clamp as Clamp,
    )
    from lightning_clip.core import (
        ClipStrategy as ClipStrategy,
    )
    from lightning_clip.core import (
        Gradients as Gradients,
    )
    from lightning_clip.core import (
        Keep as Keep,
    )
    from lightning_clip.core import (
        Ladder as Ladder,
    )
    from lightning_clip.core import (
        Scale as Scale,
    )
    from lightning_clip.core import (
        ScaleEach as ScaleEach,
    )
    from lightning_clip.core import (
        SpikeDetector as SpikeDetector,
    )
    from lightning_clip.core import (
        clip_ as clip_,
    )
    from lightning_clip.datamodules import (
        AddingProblemDataModule as AddingProblemDataModule,
    )
    from lightning_clip.datamodules import (
        CharTextDataModule as CharTextDataModule,
    )
    from lightning_clip.datamodules import (
        Chunk as Chunk,
    )
    from lightning_clip.datamodules import (
        ChunkedSequenceDataModule as ChunkedSequenceDataModule,
    )
    from lightning_clip.datamodules import (
        MemorizationDataModule as MemorizationDataModule,
    )
    from lightning_clip.datamodules import (
        MultiplicationDataModule as MultiplicationDataModule,
    )
    from lightning_clip.datamodules import (
        RandomPermutationDataModule as RandomPermutationDataModule,
    )
    from lightning_clip.datamodules import (
        RegressionDataModule as RegressionDataModule,
    )
    from lightning_clip.datamodules import (
        SequentialDigitsDataModule as SequentialDigitsDataModule,
    )
    from lightning_clip.datamodules import (
        TemporalOrderDataModule as TemporalOrderDataModule,
    )
    from lightning_clip.datamodules import (
        TimeSeriesDataModule as TimeSeriesDataModule,
    )
    from lightning_clip.modules import (
        GRUModule as GRUModule,
    )
    from lightning_clip.modules import (
        LSTMModule as LSTMModule,
    )
    from lightning_clip.modules import (
        MLPRegressor as MLPRegressor,
    )
    from lightning_clip.modules import (
        RNNModule as RNNModule,
    )
    from lightning_clip.modules import (
        StatefulMixin as StatefulMixin,
    )
    from lightning_clip.modules import (
        TBPTTModule as TBPTTModule,
    )
    from lightning_clip.modules import (
        TBPTTSequenceModule as TBPTTSequenceModule,
    )
    from lightning_clip.modules import (
        TruncatedBPTTMixin as TruncatedBPTTMixin,
    )
    from lightning_clip.reports.record import (
        RunRecord as RunRecord,
    )
    from lightning_clip.reports.record import (
        load_record as load_record,
    )
    from lightning_clip.sinks import (
        CsvSink as CsvSink,
    )
    from lightning_clip.sinks import (
        JsonlSink as JsonlSink,
    )
    from lightning_clip.sinks import (
        read_jsonl as read_jsonl,
    )
    from lightning_clip.strategies import *

__all__ = [
    "AGC",
    "Action",
    "AdaGC",
    "AdaptiveMaxClip",
    "AddingProblemDataModule",
    "AutoClip",
    "Blend",
    "Chain",
    "CharTextDataModule",
    "Chunk",
    "ChunkedSequenceDataModule",
    "Clamp",
    "ClipStrategy",
    "CoordinateClip",
    "CsvSink",
    "DivergenceRollback",
    "EmaRatioClip",
    "GRUModule",
    "GradientClipping",
    "GradientMonitor",
    "Gradients",
    "GroupNormClip",
    "GrowthLimitClip",
    "JsonlSink",
    "Keep",
    "LSTMModule",
    "Ladder",
    "MLPRegressor",
    "MemorizationDataModule",
    "MultiplicationDataModule",
    "NoClip",
    "NonFiniteGuard",
    "NormClip",
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
    "UpdateRMSClip",
    "ValueClip",
    "ZClip",
    "clip_",
    "load_record",
    "read_jsonl",
]

# A room is imported when one of its names is used: reading a record needs neither Lightning nor a model.
__getattr__, __dir__ = lazy_names(
    __name__,
    ["core", "strategies", "sinks", "reports.record", "callbacks", "modules", "datamodules"],
    offered=__all__,
)
