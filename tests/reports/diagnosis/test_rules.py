"""What a diagnosis finds, and when it finds nothing."""

import math

import numpy as np
import pytest

from lightning_clip.core import History, RunInfo
from lightning_clip.reports import Evidence, Finding, Severity
from lightning_clip.reports import diagnose as diagnose_evidence
from lightning_clip.reports.diagnosis import RULES
from lightning_clip.reports.growth import growth_of
from tests.reports.runs import EXPLOSION, healthy
from tests.support.recorded import history_of

SGD = RunInfo("M", "NormClip(1.0)", "SGD(lr=0.01)")
ADAM = RunInfo("M", "NormClip(1.0)", "AdamW(lr=0.01)")
QUIET = np.exp(0.3 * np.random.default_rng(0).standard_normal(300)).tolist()
THREE = {"a.weight": 0.5, "b.weight": 0.3, "c.weight": 0.2}


def diagnose(history: History, run: RunInfo) -> list[Finding]:
    return diagnose_evidence(Evidence.of(history, run))


def titles(history: History, run: RunInfo = SGD) -> list[str]:
    return [finding.title for finding in diagnose(history, run)]


def only(history: History, run: RunInfo = SGD) -> Finding:
    (finding,) = diagnose(history, run)
    return finding


def test_a_healthy_run_has_no_findings():
    """A quiet unclipped run and a run whose spikes are clipped both have no findings."""
    assert titles(history_of(QUIET, shares=THREE)) == []
    assert diagnose(*healthy()) == []


def test_the_most_severe_comes_first():
    """Findings are sorted: critical, then warnings, then notes."""
    shares = {"a.weight": 0.96, "b.weight": 0.04, "dead.weight": 0.0}
    found = diagnose(history_of([*QUIET, math.nan], max_norm=0.5, shares=shares), SGD)
    severities = [finding.severity for finding in found]
    assert severities == sorted(severities, reverse=True)
    assert set(severities) == {Severity.CRITICAL, Severity.WARNING, Severity.NOTE}


# NaN and infinite norms


@pytest.mark.parametrize(("bad", "word"), [(math.nan, "NaN"), (math.inf, "infinite")])
def test_a_bad_gradient_is_named_with_step_parameters_and_last_good_norm(bad: float, word: str):
    """The finding names everything needed to track it down."""
    finding = only(history_of([*QUIET[:7], bad], shares=THREE))
    assert finding.title == f"The gradient is {word} at step 7"
    assert finding.severity is Severity.CRITICAL
    assert finding.detail == (
        "First seen in a.weight, b.weight and c.weight. The norms before it were 1.03, 0.852, 1.11 and 1.48. The "
        "loss was still 0.935, so look at the backward pass: some slope is NaN or infinite, like that of a square "
        "root at 0."
    )
    assert only(history_of([1.0, bad])).detail.startswith(
        "The affected parameters were not recorded. The last good norm"
    )


def test_a_bad_gradient_is_named_with_epoch_and_batch_and_the_loss_says_where_to_look():
    """Where the loss is NaN too, the cause is in the data or the forward pass."""
    losses = [*[0.5] * 7, math.nan]
    finding = only(history_of([*QUIET[:7], math.nan], losses=losses, batches_per_epoch=4))
    assert finding.title == "The gradient is NaN at step 7 (epoch 1, batch 3)"
    assert finding.detail.endswith("The loss was not finite either, so the cause is in the data or the forward pass.")
    assert finding.code[-1] == 'trainer = Trainer(callbacks=[NonFiniteGuard("skip")])'


def test_bad_gradients_everywhere_are_said_to_be():
    """When every parameter is bad at once, the finding says so instead of listing names."""
    run = RunInfo(numels=dict.fromkeys(THREE, 1))
    finding = only(history_of([1.0, math.nan], shares=THREE), run)
    assert finding.detail.startswith("All 3 parameters were affected at once (a.weight, b.weight and 1 more).")


def test_the_cause_is_looked_for_where_it_can_be():
    """The remedy depends on the norm before: normal, large, missing, or early in training."""
    assert "check the data and the loss first" in only(history_of([*QUIET, math.nan])).remedy
    assert only(history_of([*QUIET, 30.0, math.nan])).remedy.startswith("Trainer(detect_anomaly=True) names")
    assert only(history_of([math.nan] * 2)).remedy.startswith("There was no good step before; check the data")
    assert only(history_of([500.0, math.nan])).remedy.startswith("This early in training, the steps are too long")
    assert only(history_of([500.0, math.nan], max_norm=1e3)).remedy.startswith("This early in training, lower the lear")


def test_bad_steps_that_were_skipped_are_a_warning():
    """A skipped bad step is a warning, because the weights were kept and the run went on."""
    norms = QUIET[:]
    norms[100] = norms[101] = math.nan
    finding = only(history_of(norms, skipped=[100, 101]))
    assert finding.title == "The gradient is NaN at step 100, and NaN or infinite at 2 of 300 steps"
    assert finding.severity is Severity.WARNING
    assert finding.remedy.endswith("The steps were skipped, so the weights are unharmed.")


def test_a_run_that_ends_on_a_bad_step_did_not_get_over_it():
    """Skipping the last step of a run does not make it harmless."""
    assert only(history_of([*QUIET, math.nan], skipped=[300])).severity is Severity.CRITICAL


# Explosion


def test_an_explosion_is_measured_to_the_last_finite_norm():
    """The finding gives the factor, the steps, and the norm at both ends."""
    explosion = only(history_of([*EXPLOSION, math.nan], shares=THREE, batches_per_epoch=4))
    assert explosion.title == "The norm exploded: \N{MULTIPLICATION SIGN} 6.45e+23 in 6 steps, then NaN at step 7"
    assert explosion.detail == (
        "It grew from 310 at step 0 (epoch 0, batch 0) to 2e+26 before it became NaN or infinite. The growth was "
        "first seen in a.weight."
    )
    assert explosion.code[-2] == "clipping = GradientClipping(NormClip(max_norm=1.0))"


def test_steady_growth_is_told_by_its_rate():
    """Growth by a constant factor means that each step is too long; other growth is not called steady."""
    steady = only(history_of([1.4**i for i in range(40)]))
    assert "It grows by 40% per step, steadily" in steady.detail
    sudden = only(history_of([*[1.0] * 30, 1e3, 1e3, 1e3]))
    assert "steadily" not in sudden.detail


def test_large_targets_are_named_as_the_cause_of_an_explosion():
    """A loss that begins at a million is a mean squared error of targets about 1,000 in size."""
    losses = [1e6, 1e7, 1e9, 1e12, 1e15, 1e20, 1e25, math.nan]
    finding = only(history_of([*EXPLOSION, math.nan], losses=losses))
    assert "the targets are about 1,000 in size" in finding.remedy
    assert finding.code[0] == "mean, std = y_train.mean(), y_train.std()"
    assert "targets" not in only(history_of([*EXPLOSION, math.nan])).remedy


def test_an_explosion_that_clipping_did_not_hold_asks_for_other_remedies():
    """A run that was clipped is not advised to clip."""
    finding = only(history_of([*EXPLOSION, math.nan], max_norm=1.0))
    assert finding.remedy == "Clipping did not contain it: lower the learning rate, or clip at a lower threshold:"
    assert finding.code[-1] == "optimizer = torch.optim.SGD(params, lr=0.001)"
    assert "(measured before clipping)." in finding.detail


def test_an_explosion_may_still_be_finite():
    """Sustained growth at the end of a run is an explosion; in a clipped run it is a warning."""
    assert "exploded" in titles(history_of([*QUIET, 30.0, 300.0, 3000.0]))[0]
    clipped = diagnose(history_of([*QUIET, 30.0, 300.0, 3000.0], max_norm=20.0), SGD)
    assert clipped[0].severity is Severity.WARNING


def test_one_huge_norm_is_an_explosion_where_the_next_is_not_finite():
    """A NaN right after a huge norm distinguishes an explosion from a spike."""
    assert "exploded" in titles(history_of([*QUIET, 1e20, math.nan]))[0]
    assert titles(history_of([*QUIET, 1e20])) == []


@pytest.mark.parametrize(
    "norms",
    [
        [*QUIET, 1000.0],  # one spike at the end
        [*QUIET, 1000.0, 1.0, 1.0],  # a spike that passed
        [1000.0 / (1 + i) for i in range(300)],  # falling
        [*QUIET, 20.0, 30.0, 40.0],  # a step up that is no explosion
        [1.0],  # too short to grow
        [0.0] * 100,  # nothing at all
    ],
)
def test_spikes_noise_and_falling_norms_are_no_explosion(norms: list[float]):
    """Only sustained growth by a factor of 100 is an explosion."""
    assert growth_of(history_of(norms), 0) is None


# Skipped steps


def test_many_skipped_steps_are_a_warning_and_few_bad_ones_are_not_said_twice():
    """Skipping more than 5% is a warning; skipping a few finite steps is a note."""
    many = [norm if step % 10 else math.nan for step, norm in enumerate(QUIET, 1)]
    skipped = [step for step, norm in enumerate(many) if math.isnan(norm)]
    history = history_of([*many, 1.0], skipped=skipped)
    assert "Skipped 30 of 301 steps (10%)" in titles(history)
    assert only(history_of(QUIET, skipped=[3, 4])).severity is Severity.NOTE
    assert only(history_of(QUIET, skipped=[3, 4])).title == "Skipped 2 of 300 steps (0.7%)"


@pytest.mark.parametrize(
    ("bad", "skipped", "reason", "remedy"),
    [
        ([], [3], "Its norm was finite: a rule that skips on purpose, such as SkipSpikes, skipped it.", "One skipped"),
        (
            [],
            [3, 4],
            "Their norms were finite: a rule that skips on purpose, such as SkipSpikes, skipped them.",
            "A few",
        ),
        ([], range(60), "Their norms were finite: a rule that skips on purpose, such as SkipSpikes, skipped", "A rule"),
        ([5], [3, 4, 5], "Of these, 1 was NaN or infinite; a rule that skips on purpose, such as SkipSpikes,", "A few"),
        (range(60), range(60), "They were skipped because their norms were NaN or infinite.", "So many of them"),
    ],
)
def test_the_reason_for_skipped_steps_is_told(bad, skipped, reason: str, remedy: str):
    """A rule that skips finite steps does so on purpose; only NaN and infinity suggest a bug."""
    norms = [math.nan if step in bad else norm for step, norm in enumerate(QUIET)]
    (finding,) = [f for f in diagnose(history_of(norms, skipped=list(skipped)), SGD) if f.kind == "skips"]
    assert finding.detail.startswith(reason)
    assert finding.remedy.startswith(remedy)


# Parameters


def test_a_dead_parameter_is_found():
    """A gradient that is exactly zero at every one of at least 20 steps is dead."""
    shares = {**THREE, "dead.weight": 0.0}
    finding = only(history_of(QUIET, shares=shares))
    assert finding.title == "1 parameter has no gradient: exactly 0 at every step"
    assert finding.detail.startswith("dead.weight: ")
    assert titles(history_of(QUIET[:19], shares=shares)) == []


def test_a_parameter_that_no_backward_pass_reaches_is_found():
    """Not one that is frozen or has a gradient, nor where earlier records do not say what is frozen."""
    history, sizes = history_of(QUIET, shares=THREE), dict.fromkeys([*THREE, "lost.weight", "frozen.weight"], 4)
    run = RunInfo(numels=sizes, frozen=["frozen.weight"])
    finding = next(one for one in diagnose(history, run) if one.kind == "dead-parameters")
    assert finding.title == "1 parameter never had a gradient"
    assert finding.detail.startswith("lost.weight: ")
    assert not [one for one in diagnose(history, RunInfo(numels=sizes)) if one.kind == "dead-parameters"]
    assert not [one for one in diagnose(history_of(QUIET), run) if one.kind == "dead-parameters"]


def test_vanishing_parameters_are_found():
    """A median norm below 1e-4 of the total vanishes; one just above does not."""
    below, above = 0.9e-4**2, 1.1e-4**2
    finding = only(history_of([1.0] * 300, shares={**THREE, "x": below, "y": below, "z": above}))
    assert finding.title == "2 parameters have a vanishing gradient: below 1e-04 of the total norm"
    assert finding.detail.startswith("x and y: ")


def test_a_dominant_parameter_is_found():
    """A parameter dominates with over 90% of the squared norm, among at least three, beyond what its size explains."""
    shares = {"embed": 0.92, "a": 0.05, "b": 0.03}
    finding = only(history_of(QUIET, shares=shares))
    assert finding.title == "embed holds 92% of the squared norm"
    assert "PerParameterNormClip" in finding.remedy
    assert titles(history_of(QUIET, shares=shares), RunInfo(numels={"embed": 97, "a": 1, "b": 2})) == []
    assert titles(history_of(QUIET, shares={"weight": 0.95, "bias": 0.05})) == []
    assert titles(history_of(QUIET, shares={"embed": 0.89, "a": 0.08, "b": 0.03})) == []


def test_with_several_optimizers_the_finding_says_which():
    """With several optimizers, each finding names its optimizer and explains that one."""
    run = RunInfo(optimizer="Adam(lr=0.001), SGD(lr=0.01)")
    history = history_of(QUIET, max_norm=1e3, optimizer=0)
    history = history_of([10 * norm for norm in QUIET], max_norm=1.0, optimizer=1, into=history)
    limiter, never = diagnose(history, run)
    assert limiter.title.startswith("Optimizer 1: Clipped") or never.title.startswith("Optimizer 1: Clipped")
    found = {finding.title[:12]: finding for finding in (limiter, never)}
    assert "second learning rate" in found["Optimizer 1:"].detail
    assert "never acted" in found["Optimizer 0:"].title


def test_a_finding_yields_to_the_kind_that_makes_it_redundant(monkeypatch: pytest.MonkeyPatch):
    """A finding is dropped where a kind in its `unless` was found, and only there."""
    from lightning_clip.reports.diagnosis import rules

    general = Finding(Severity.NOTE, "general", "", "", kind="general", unless=("exact",))
    exact = Finding(Severity.NOTE, "exact", "", "", kind="exact")
    evidence = Evidence.of(history_of(QUIET), SGD)
    monkeypatch.setattr(rules, "RULES", (lambda evidence: [general], lambda evidence: [exact]))
    assert diagnose_evidence(evidence) == [exact]
    monkeypatch.setattr(rules, "RULES", (lambda evidence: [general],))
    assert diagnose_evidence(evidence) == [general]


def test_every_rule_is_of_one_protocol_and_every_finding_has_a_kind():
    """Each rule in `RULES` takes the evidence and yields findings whose kind is set."""
    found = diagnose(history_of([*QUIET, math.nan], max_norm=0.5, shares={"a": 0.96, "b": 0.04, "c": 0.0}), SGD)
    assert all(finding.kind for finding in found)
    for rule in RULES:
        assert list(rule(Evidence.of(History(), RunInfo()))) == []


def test_gradients_above_one_everywhere_are_a_note_unless_the_loss_came_down():
    """It is an early sign where the loss stays up; with one parameter below 1 it is none."""
    history = history_of([100 * norm for norm in QUIET], shares=THREE, losses=[5.0] * 40 + [4.0] * 260)
    finding = only(history)
    assert finding.title == "The gradient of every parameter is above 1"
    assert finding.severity is Severity.NOTE
    assert titles(history_of([100 * norm for norm in QUIET], shares=THREE)) == []
    mixed = {"a.weight": 1 - 1e-5, "b.weight": 0.9e-5, "c.weight": 1e-6}
    found = titles(history_of([100 * norm for norm in QUIET], shares=mixed, losses=[5.0] * 40 + [4.0] * 260))
    assert "The gradient of every parameter is above 1" not in found
