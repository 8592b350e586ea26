"""`diagnose`: what is wrong with a run, and what to do about it."""

from collections.abc import Callable, Sequence

from lightning_clip.core.record.history import History
from lightning_clip.core.record.run_info import RunInfo
from lightning_clip.core.recurrent.spectrum import KIND as SPECTRUM
from lightning_clip.core.recurrent.temporal_profile import TemporalProfile, temporal_profiles
from lightning_clip.reports.diagnosis.clipping import binds_mostly, never_binds, skips
from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.diagnosis.rule import Finding, Severity
from lightning_clip.reports.diagnosis.parameters import dead_layers, dominant_layer, vanishing_layers
from lightning_clip.reports.diagnosis.norm import explodes, not_finite
from lightning_clip.reports.diagnosis.spectrum import spectrum_findings
from lightning_clip.reports.summary import Summary, summarize
from lightning_clip.reports.diagnosis.temporal import denormal, explodes_through_time, vanishes_through_time

__all__ = ["Finding", "Severity", "diagnose"]

_OF_AN_OPTIMIZER = (not_finite, explodes, skips, binds_mostly, never_binds)
_OF_LAYERS = (dead_layers, vanishing_layers, dominant_layer)
_OF_TIME = (explodes_through_time, vanishes_through_time)


def diagnose(history: History, run: RunInfo) -> list[Finding]:
    """Look for what is known to go wrong with gradients.

    Args:
        history: The record of a run.
        run: What was run.

    Returns:
        What was found, the most severe first; empty where nothing was.

    Example:
        >>> from lightning_clip import StepRecord
        >>> history = History()
        >>> nan = float("nan")
        >>> history.extend([StepRecord(0, 0, "NoClip()", nan, nan, None, 1.0, False, False, False)])
        >>> [finding.title for finding in diagnose(history, RunInfo())]
        ['The gradient is NaN at step 0']
    """
    summary = summarize(history, run)
    found = [
        finding
        for part in summary.optimizers
        for rule in _OF_AN_OPTIMIZER
        if (finding := rule(Evidence(history, summary, part))) is not None
    ]
    found += [finding for rule in _OF_LAYERS if (finding := rule(summary)) is not None]
    found += [
        finding
        for profiles in temporal_profiles(history.measurements).values()
        for time_rule in _rules_of_time(history)
        if (finding := time_rule(profiles, summary)) is not None
    ]
    found += spectrum_findings(history)
    return sorted(found, key=lambda finding: -finding.severity)


def _rules_of_time(history: History) -> tuple[Callable[[Sequence[TemporalProfile], Summary], Finding | None], ...]:
    """Denormal numbers are told of once, where two monitors have seen them."""
    return _OF_TIME if SPECTRUM in history.measurements.kinds else (*_OF_TIME, denormal)
