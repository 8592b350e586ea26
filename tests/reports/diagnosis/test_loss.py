"""What a diagnosis says about the course of the loss and the learning rate."""

from dataclasses import replace

import numpy as np
import pytest

from lightning_clip.core import Event, History, RunInfo
from lightning_clip.reports import Evidence, Finding, Severity, diagnose
from tests.support.recorded import history_of

RNG = np.random.default_rng(0)
QUIET = np.exp(0.3 * RNG.standard_normal(200)).tolist()
NOISE = np.exp(0.2 * RNG.standard_normal(200))
FALLING = (np.exp(-np.arange(200) / 50) * NOISE).tolist()
FLAT = NOISE.tolist()
SGD = RunInfo("M", "NoClip()", "SGD(lr=0.1)")


def found(history: History, run: RunInfo = SGD) -> list[Finding]:
    return diagnose(Evidence.of(history, run))


def kinds(losses: list[float], *, scale: float = 1.0, **options) -> list[str]:
    return [one.kind for one in found(history_of(QUIET[: len(losses)], losses=[scale * x for x in losses], **options))]


def test_a_loss_that_falls_is_not_mentioned():
    """Neither is a short one."""
    assert kinds(FALLING) == []
    assert kinds(FLAT[:79]) == []


def test_no_traction_is_told_with_a_higher_rate():
    """A loss that stays where it was; not one that fell by more than its noise."""
    (finding,) = found(history_of(QUIET, losses=FLAT))
    assert finding.title == "No traction: the loss did not fall in 200 steps"
    assert finding.severity is Severity.WARNING
    assert finding.code[-1] == "optimizer = torch.optim.SGD(params, lr=1)"
    assert kinds((NOISE * np.linspace(1.0, 0.7, 200)).tolist()) == []
    assert kinds([4.0, 4.0, 3.0, *FLAT[3:]]) == []  # fell in its first steps


def test_no_traction_yields_to_its_cause():
    """A threshold that is much too low or a vanishing gradient is named instead."""
    (finding,) = found(history_of(QUIET, losses=FLAT, max_norm=1e-3), replace(SGD, strategy="NormClip(max_norm=0.001)"))
    assert finding.kind == "clips-mostly"
    assert finding.severity is Severity.WARNING
    assert finding.remedy.startswith("Raise max_norm (now 0.001): max_norm=1.")
    small = history_of(QUIET, losses=FLAT, shares={"a": 1 - 1e-12, "b": 1e-12})
    assert found(small)[0].kind == "vanishing-parameters"


def test_the_same_low_threshold_is_a_note_where_the_loss_falls():
    """Clipping by design sets the step size; Adam's steps do not depend on it."""
    low = {"max_norm": 1e-3}
    clipped = replace(SGD, strategy="NormClip(max_norm=0.001)")
    assert found(history_of(QUIET, losses=FALLING, **low), clipped)[0].severity is Severity.NOTE
    adam = replace(clipped, optimizer="Adam(lr=0.1)")
    assert [one.kind for one in found(history_of(QUIET, losses=FLAT, **low), adam)] == ["no-traction", "clips-mostly"]


def test_a_swinging_loss_is_told_if_it_is_above_its_start():
    """It overshoots; a loss that varies as much from batch to batch at its first level, or falls, does not swing."""
    noise = np.exp(1.5 * np.random.default_rng(1).standard_normal(200))
    swing = np.concatenate([[0.5, 0.6, 0.5], noise[3:]])
    level = np.concatenate([[1.0, 1.1, 0.9], noise[3:]])
    (finding,) = found(history_of(QUIET, losses=swing.tolist()))
    assert finding.kind == "swinging-loss"
    assert finding.title.endswith("from update to update and does not fall")
    assert finding.code[-1] == "optimizer = torch.optim.SGD(params, lr=0.01)"
    assert kinds((noise * np.exp(-np.arange(200) / 20)).tolist()) == []
    assert kinds(level.tolist()) == ["no-traction"]


def test_a_loss_that_rises_again_is_told():
    """It names the best and the last; a loss that ends at its best is not mentioned."""
    rising = np.concatenate([np.linspace(1.0, 0.2, 100), np.linspace(0.2, 0.9, 100)]) * np.exp(
        0.05 * RNG.standard_normal(200)
    )
    (finding,) = found(history_of(QUIET, losses=rising.tolist()))
    assert finding.kind == "worsening-loss"
    assert finding.title.startswith("The loss rose again: 0.")


@pytest.mark.parametrize(("scale", "severity"), [(1e7, Severity.WARNING), (1e4, Severity.NOTE), (10.0, None)])
def test_targets_that_are_not_scaled_are_told_by_the_first_loss(scale: float, severity: Severity | None):
    """Huge ones are a warning where the loss has not come down; a loss of 10 says nothing."""
    course = (np.linspace(1.0, 0.9, 200) * NOISE).tolist()
    first = [
        one for one in found(history_of(QUIET, losses=[scale * x for x in course])) if one.kind == "unscaled-targets"
    ]
    assert [one.severity for one in first] == ([] if severity is None else [severity])
    fallen = found(history_of(QUIET, losses=[scale * x for x in FALLING]))
    assert all(one.severity is Severity.NOTE for one in fallen)


def rates(*values: float, losses: list[float]) -> History:
    history = history_of(QUIET, losses=losses)
    steps = [replace(one, learning_rate=values[i * len(values) // 200]) for i, one in enumerate(history)]
    history = History()
    history.extend(steps)
    return history


def test_a_learning_rate_that_had_to_fall_is_told():
    """The rate fell to less than 1% while the loss stayed high; a schedule of a run that learned is not mentioned."""
    history = rates(1.0, 0.1, 0.001, 0.0001, losses=FLAT)
    history.events.append(Event(100, "rollback", "rolled back to step 80"))
    (finding,) = found(history)
    assert finding.kind == "falling-rate"
    assert finding.title == "The learning rate fell from 1 to 1e-04, and the loss stayed high"
    assert "1 rollback lowered it." in finding.detail
    assert found(rates(1.0, 0.1, 0.001, 0.0001, losses=FALLING)) == []
    assert [one.kind for one in found(rates(1.0, 0.5, 0.1, losses=FLAT))] == ["no-traction"]
