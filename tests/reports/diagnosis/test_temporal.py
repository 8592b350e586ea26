"""What a diagnosis finds about the gradient through time."""

import math

import numpy as np
import pytest

from lightning_clip.reports import Evidence, Finding, Severity, diagnose, render_report, to_text
from tests.reports.runs import (
    LAGS,
    grows_through_time,
    healthy_through_time,
    overflows_through_time,
    profile,
    vanishes_through_time,
    weak_rest_through_time,
    with_profiles,
)


def of_time(run) -> list[Finding]:
    return [finding for finding in diagnose(Evidence.of(*run)) if "through time" in finding.title]


def test_a_healthy_flow_is_not_mentioned():
    """A healthy flow has no finding, nor does one that exploded earlier and recovered."""
    recovered = with_profiles([profile(0, np.exp(0.1 * LAGS)), profile(100, np.exp(-0.01 * LAGS))])
    assert of_time(healthy_through_time()) == of_time(recovered) == []


def test_an_explosion_without_clipping_is_to_be_clipped():
    """The finding gives the growth, the share of profiles, and advises to clip."""
    (finding,) = of_time(grows_through_time())
    assert finding.severity is Severity.WARNING
    assert finding.title == "The gradient explodes through time in recurrent: × 20,100 over 99 steps"
    assert finding.detail.startswith("Seen in all 3 profiles, the latest at step 200.")
    assert finding.remedy.startswith("Clip, so that one such step cannot ruin the weights.")
    assert finding.code[1].startswith("clipping = GradientClipping(NormClip(max_norm=1.")


def test_an_explosion_under_clipping_needs_something_else():
    """A run that is clipped already gets another remedy than clipping."""
    (finding,) = of_time(with_profiles([profile(0, np.exp(0.1 * LAGS))], max_norm=1.0))
    assert finding.detail.startswith("Measured once, at step 0.")
    assert finding.remedy.startswith("Clipping limits its length, but its direction")


def test_an_explosion_is_told_however_it_was_seen():
    """An explosion shows as NaN or infinity, or as a norm far above the usual one."""
    (finding,) = of_time(overflows_through_time())
    assert finding.title.endswith("in recurrent: it is NaN or infinite")
    (finding,) = of_time(with_profiles([profile(0, np.ones(100), usual=0.001)]))
    assert finding.title.endswith("its largest norm is × 1,000 the usual one")


def test_growth_beyond_all_numbers_is_told():
    """Growth whose exponential overflows is still reported as a number."""
    (finding,) = of_time(with_profiles([profile(0, np.exp(7.0 * LAGS))]))
    assert finding.title.endswith("× 9.25e+300 over 99 steps")


@pytest.mark.parametrize(
    ("cell", "remedy"),
    [
        (
            "RNN_TANH",
            'use an LSTM with a forget bias of about log T, here 4.6, or orthogonal recurrent weights (init="ortho',
        ),
        ("LSTM", 'start with a forget bias of about log T, here 4.6, or with forget_bias="chrono" and max_lag.'),
        ("GRU", 'start with an update bias of about log T, here 4.6, or with update_bias="chrono" and max_lag.'),
    ],
)
def test_the_cure_of_a_vanishing_gradient_depends_on_the_cell(cell: str, remedy: str):
    """A plain layer is advised to use gates, a gated one to change its bias; both get a chunk length."""
    (finding,) = of_time(with_profiles([profile(0, np.exp(-0.5 * LAGS), cell=cell)]))
    assert finding.title == "The gradient vanishes through time in recurrent: 1% is left after 9 of 100 steps"
    assert finding.detail == (
        "Measured once, at step 0. Input further back than that contributes almost nothing to learning."
    )
    assert finding.remedy.startswith(f"If the task needs a longer memory, {remedy}")
    assert finding.remedy.endswith("If it does not, chunks of 18 to 27 steps are long enough.")


def test_a_weak_rest_gets_no_chunks():
    """No chunk length is suggested where a cut would remove part of the gradient."""
    (finding,) = of_time(weak_rest_through_time())
    assert (
        finding.detail
        == "Seen in 1 of 2 profiles, the latest at step 100. Input further back than that contributes only a little to "
        "learning."
    )
    assert "chunks" not in finding.remedy


def test_denormal_numbers_are_to_be_flushed():
    """Denormal numbers are a note beside the warning that the gradient vanishes."""
    warning, note = of_time(vanishes_through_time())
    assert (warning.severity, note.severity) == (Severity.WARNING, Severity.NOTE)
    assert note.title == "13% of the gradient through time in recurrent is denormal"
    assert "torch.set_flush_denormal(True)" in note.remedy


def test_what_is_finite_nowhere_has_no_bars():
    """A profile without a finite norm shows one line instead of bars."""
    run = with_profiles([profile(0, np.exp(0.1 * LAGS)), profile(100, math.nan * LAGS)])
    text = to_text(render_report(*run), width=80)
    assert "× NaN or infinite at every lag" in text
    assert "│×" not in text
    assert "nan" not in text.replace("NaN is", "").replace("NaN or", "").lower().replace("dominan", "")


def test_layers_are_shown_apart():
    """Each recurrent layer has its own section, first profile and finding."""
    from dataclasses import replace

    profiles = [profile(0, np.exp(-0.01 * LAGS)), profile(100, np.exp(-0.01 * LAGS))]
    others = [replace(profile(step, np.exp(-0.5 * LAGS)), layer="decoder") for step in (0, 100)]
    run = with_profiles([*profiles, *others])
    text = to_text(render_report(*run), width=100)
    assert text.count("the latest of 2 profiles, at step 100") == 2
    (finding,) = of_time(run)
    assert "in decoder" in finding.title


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_a_gradient_that_reaches_less_than_half_of_the_window_is_a_note(cell: str):
    """An LSTM that halves every 1.5 steps reaches 9 of 24 steps; one that reaches most of them is not mentioned."""
    lags = np.arange(24)
    (finding,) = diagnose(Evidence.of(*with_profiles([profile(0, 0.5 ** (lags / 1.5), cell=cell)], max_norm=1.7)))
    assert finding.kind == "short-memory"
    assert finding.severity is Severity.NOTE
    assert finding.title == "The gradient reaches back over 9 of 24 steps in recurrent"
    assert finding.detail.startswith("It halves every 1.5 steps")
    assert f"model = {cell}Module(in_features, out_features, **memory)" in finding.code
    assert diagnose(Evidence.of(*with_profiles([profile(0, 0.5 ** (lags / 4), cell=cell)], max_norm=1.7))) == []
    (other,) = diagnose(Evidence.of(*with_profiles([profile(0, 0.5 ** (lags / 0.5), cell=cell)], max_norm=1.7)))
    assert other.kind == "temporal-vanishing"
