"""`diagnose`: what is wrong with a run, and what to do about it; `RULES`: every rule, in order."""

from lightning_clip.reports.diagnosis.clipping import clips_mostly, never_clips, skips
from lightning_clip.reports.diagnosis.explosion import explodes, explodes_early
from lightning_clip.reports.diagnosis.loss import (
    falling_rate,
    no_traction,
    overshoots,
    swinging_loss,
    unscaled_targets,
    worsening_loss,
)
from lightning_clip.reports.diagnosis.norm import large_norms, not_finite
from lightning_clip.reports.diagnosis.parameters import (
    dead_parameters,
    dominant_parameter,
    fell_silent_parameters,
    unreached_parameters,
    vanishing_parameters,
)
from lightning_clip.reports.diagnosis.players import lost_gradient
from lightning_clip.reports.diagnosis.rule import Finding, Rule
from lightning_clip.reports.diagnosis.spectrum import (
    dead_units,
    denormal_gradients,
    exploded_weights,
    saturated_units,
)
from lightning_clip.reports.diagnosis.spikes import spikes
from lightning_clip.reports.diagnosis.temporal import (
    denormal_through_time,
    explodes_through_time,
    short_memory,
    vanishes_through_time,
)
from lightning_clip.reports.diagnosis.updates import growing_weights, large_updates
from lightning_clip.reports.evidence import Evidence

RULES: tuple[Rule, ...] = (
    explodes,
    explodes_early,
    not_finite,
    exploded_weights,
    spikes,
    large_updates,
    growing_weights,
    unscaled_targets,
    falling_rate,
    swinging_loss,
    overshoots,
    skips,
    clips_mostly,
    never_clips,
    lost_gradient,
    dead_parameters,
    unreached_parameters,
    fell_silent_parameters,
    vanishing_parameters,
    dominant_parameter,
    explodes_through_time,
    vanishes_through_time,
    short_memory,
    denormal_through_time,
    saturated_units,
    dead_units,
    denormal_gradients,
    no_traction,
    worsening_loss,
    large_norms,
)
"""Every rule; findings of the same severity keep this order."""


def diagnose(evidence: Evidence) -> list[Finding]:
    """Look for what is known to go wrong with gradients.

    Args:
        evidence: The record of a run, summarized.

    Returns:
        The findings, the most severe first; empty where nothing was found.

    Example:
        >>> from lightning_clip.core import History, RunInfo, StepRecord
        >>> history = History()
        >>> nan = float("nan")
        >>> history.extend([StepRecord(0, 0, "NoClip()", nan, nan, None, 1.0, False, False, False)])
        >>> [finding.title for finding in diagnose(Evidence.of(history, RunInfo()))]
        ['The gradient is NaN at step 0']
    """
    found = [finding for rule in RULES for finding in rule(evidence)]
    kinds = {finding.kind for finding in found}
    kept = [finding for finding in found if kinds.isdisjoint(finding.unless)]
    return sorted(kept, key=lambda finding: -finding.severity)
