"""The core types: gradients, actions, clipping strategies, step records and the history of a run."""

from lightning_clip.core.actions import Action, Clamp, Keep, Scale, ScaleEach, Sequential, Skip, Zero
from lightning_clip.core.clip import clip_
from lightning_clip.core.element_actions import Multiply, Replace
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.names import parameter_names
from lightning_clip.core.record.history import History
from lightning_clip.core.record.measurements import Measurement, Measurements
from lightning_clip.core.record.parameter_totals import ParameterTotals
from lightning_clip.core.record.pending_step import PendingStep
from lightning_clip.core.record.run_info import Event, RunInfo
from lightning_clip.core.record.step_buffer import StepBuffer
from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.core.recurrent.temporal_profile import TemporalProfile
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.core.switching import Ladder, SpikeDetector

__all__ = [
    "Action",
    "Clamp",
    "ClipStrategy",
    "Event",
    "Gradients",
    "History",
    "Keep",
    "Ladder",
    "Measurement",
    "Measurements",
    "Multiply",
    "ParameterTotals",
    "PendingStep",
    "Replace",
    "RunInfo",
    "Scale",
    "ScaleEach",
    "Sequential",
    "Skip",
    "SpikeDetector",
    "StepBuffer",
    "StepRecord",
    "TemporalProfile",
    "Zero",
    "clip_",
    "parameter_names",
]
