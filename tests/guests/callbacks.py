"""All callbacks of the package, and what has to be true of them after a fit inside somebody else's project."""

from lightning_clip import (
    DivergenceRollback,
    GradientClipping,
    NonFiniteGuard,
    NormClip,
    RecurrentSpectrumMonitor,
    RichGradientReport,
    StrategySwitcher,
    TemporalGradientMonitor,
    UpdateMonitor,
)


def everything():
    """New callbacks, the clipping first."""
    return [
        GradientClipping(NormClip(0.5)),
        StrategySwitcher([NormClip(0.1)]),
        NonFiniteGuard("skip"),
        DivergenceRollback(),
        TemporalGradientMonitor(every_n_steps=2),
        RecurrentSpectrumMonitor(every_n_steps=2),
        UpdateMonitor(),
        RichGradientReport(),
    ]


def check(callbacks) -> int:
    """Check the record of a fit, and return its number of steps."""
    clipping, temporal = callbacks[0], callbacks[4]
    steps = clipping.history.aggregates[0].steps
    assert steps > 0, "no step was recorded"
    assert clipping.history.aggregates[0].nonfinite == 0
    assert temporal.profiles, "no recurrent layer was measured"
    return steps
