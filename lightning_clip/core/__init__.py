"""The nouns of the package: gradients, actions, strategies, records and the history of a run."""

from lightning_clip.core.actions import Action, Clamp, InTurn, Keep, Multiply, Replace, Scale, ScaleEach, Skip, Zero
from lightning_clip.core.engine import clip_
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.history import History
from lightning_clip.core.measurements import Measurement, Measurements
from lightning_clip.core.names import parameter_names
from lightning_clip.core.records import EventBuffer, RunEvent, RunInfo, StepEvent, StepRecord
from lightning_clip.core.results import RunResult
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.core.switching import Ladder, SpikeDetector
from lightning_clip.core.temporal_profile import TemporalProfile

__all__ = [
    "Action",
    "Clamp",
    "ClipStrategy",
    "EventBuffer",
    "Gradients",
    "History",
    "InTurn",
    "Keep",
    "Ladder",
    "Measurement",
    "Measurements",
    "Multiply",
    "Replace",
    "RunEvent",
    "RunInfo",
    "RunResult",
    "Scale",
    "ScaleEach",
    "Skip",
    "SpikeDetector",
    "StepEvent",
    "StepRecord",
    "TemporalProfile",
    "Zero",
    "clip_",
    "parameter_names",
]
