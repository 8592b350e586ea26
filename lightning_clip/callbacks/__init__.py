"""Lightning callbacks that clip, monitor, guard and report; the computations are in `core` and `strategies`."""

from lightning_clip.callbacks.capture.bad_step_capture import BadStepCapture
from lightning_clip.callbacks.capture.skip_batches import SkipBatches
from lightning_clip.callbacks.divergence_rollback import DivergenceRollback
from lightning_clip.callbacks.finder.clip_threshold_finder import ClipThresholdFinder
from lightning_clip.callbacks.gradient_clipping import GradientClipping
from lightning_clip.callbacks.gradient_monitor import GradientMonitor
from lightning_clip.callbacks.logger_report import LoggerReport
from lightning_clip.callbacks.monitors.recurrent_spectrum_monitor import RecurrentSpectrumMonitor
from lightning_clip.callbacks.monitors.temporal_gradient_monitor import TemporalGradientMonitor
from lightning_clip.callbacks.monitors.update_monitor import UpdateMonitor
from lightning_clip.callbacks.non_finite_guard import NonFiniteGuard
from lightning_clip.callbacks.rich_gradient_report import RichGradientReport
from lightning_clip.callbacks.strategy_switcher import StrategySwitcher

__all__ = [
    "BadStepCapture",
    "ClipThresholdFinder",
    "DivergenceRollback",
    "GradientClipping",
    "GradientMonitor",
    "LoggerReport",
    "NonFiniteGuard",
    "RecurrentSpectrumMonitor",
    "RichGradientReport",
    "SkipBatches",
    "StrategySwitcher",
    "TemporalGradientMonitor",
    "UpdateMonitor",
]
