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


def test_a_fall_that_noise_hides_is_no_lack_of_traction():
    """A fall by a third among losses that vary by a factor of nine is too little to tell, and no fault."""
    falling = np.tile([3.0, 1.0, 1 / 3, 0.5], 50) * np.linspace(1.2, 0.8, 200)
    course = Evidence.of(history_of(QUIET, losses=falling.tolist()), SGD).optimizers[0].losses
    assert not course.fell
    assert course.may_have_fallen
    assert kinds(falling.tolist()) == []


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


SWING = np.exp(1.5 * np.random.default_rng(1).standard_normal(200))


def at_rate(rate: float, losses: np.ndarray, norms: list[float] = QUIET) -> History:
    history = History()
    history.extend([replace(one, learning_rate=rate) for one in history_of(norms, losses=losses.tolist())])
    return history


def test_a_swinging_loss_is_told_if_updates_overshoot():
    """Its level is above its start, and one update to first order changes the loss by more than all of it."""
    swing = np.concatenate([[0.5, 0.6, 0.5], SWING[3:]])
    (finding,) = found(at_rate(3.0, swing), replace(SGD, optimizer="SGD(lr=3)"))
    assert finding.kind == "swinging-loss"
    assert finding.title.endswith("from update to update and does not fall")
    assert finding.code[-1] == "optimizer = torch.optim.SGD(params, lr=0.3)"


def test_a_loss_that_varies_with_the_batches_does_not_swing():
    """Its updates are too short for that, or their rate is unknown; or it is at its first level, or falls."""
    swing = np.concatenate([[0.5, 0.6, 0.5], SWING[3:]])
    level = np.concatenate([[1.0, 1.1, 0.9], SWING[3:]])
    assert [one.kind for one in found(at_rate(0.01, swing))] == ["no-traction"]
    assert kinds(swing.tolist()) == ["no-traction"]
    assert [one.kind for one in found(at_rate(3.0, level))] == ["no-traction"]
    assert found(at_rate(3.0, SWING * np.exp(-np.arange(200) / 20))) == []


def test_a_rate_that_is_too_high_is_told_where_the_loss_is_no_lower_than_at_first():
    """Although it fell from where the first updates threw it; not where it came down or updates are short."""
    thrown = np.concatenate([[0.7], np.linspace(6.0, 0.7, 50), NOISE[51:] * 0.7])
    (finding,) = found(at_rate(5.0, thrown), replace(SGD, optimizer="SGD(lr=5)"))
    assert finding.kind == "overshoot"
    assert finding.title == "The learning rate is too high: after 200 steps, the loss is no lower than at first"
    assert finding.code[-1] == "optimizer = torch.optim.SGD(params, lr=0.5)"
    assert found(at_rate(0.1, thrown)) == []
    assert found(at_rate(5.0, np.append([0.7], 0.5 * thrown[1:]))) == []


def test_an_adaptive_optimizer_moves_every_element_by_its_rate():
    """Its updates are as long as the rate times the root of the number of elements, whatever the gradient."""
    thrown = np.concatenate([[0.7], np.linspace(6.0, 0.7, 50), NOISE[51:] * 0.7])
    history = History()
    steps = history_of(QUIET, losses=thrown.tolist(), shares={"a": 0.5, "b": 0.5})
    history.extend([replace(one, learning_rate=0.1) for one in steps])
    history.parameters = steps.parameters
    adam = RunInfo("M", "NoClip()", "Adam(lr=0.1)", {"a": 5_000, "b": 5_000})
    assert found(history, adam)[0].kind == "overshoot"
    assert found(history, replace(adam, numels={"a": 5, "b": 5})) == []
    assert found(history, replace(adam, optimizer="SGD(lr=0.1)")) == []


def test_updates_that_get_nowhere_are_told_by_how_much():
    """The rate is raised by what is missing; a tiny gradient of SGD is a matter of the scale of the loss."""
    (finding,) = found(at_rate(1e-6, 1.0 * NOISE), replace(SGD, optimizer="SGD(lr=1e-06)"))
    assert finding.remedy == "Such updates get nowhere. Raise the learning rate:"
    assert finding.code[-1] == "optimizer = torch.optim.SGD(params, lr=0.01)"
    (finding,) = found(at_rate(0.1, 1e-6 * NOISE, [1e-6 * norm for norm in QUIET]))
    assert "scale of the loss" in finding.remedy
    assert finding.code[-1] == "optimizer = torch.optim.Adam(params, lr=0.001)"


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
