"""`StrategySwitcher`: switches the strategy when steps turn bad."""

import json

import pytest
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_clip import (
    GradientClipping,
    JsonlSink,
    MLPRegressor,
    NoClip,
    NormClip,
    RegressionDataModule,
    RobustClip,
    SkipSpikes,
    StrategySwitcher,
)
from lightning_clip.core.switching import Ladder, SpikeDetector
from tests.support.switching_sequences import norms
from tests.support.training import Net, TwoOptimizers, assert_same_weights, loader, quiet_trainer


class Scripted(Net):
    """Its gradient norm follows a script, one number per step."""

    def __init__(self, script) -> None:
        super().__init__("sgd", lr=1e-6, momentum=0.0)
        self.script = [float(x) for x in script]

    def training_step(self, batch, batch_idx):
        return self.script[self.global_step] * self.net[0].weight[0, 0]


def fit(module, *callbacks, **options):
    trainer = quiet_trainer(callbacks=list(callbacks), **options)
    trainer.fit(module, loader(rows=4 * options.get("max_steps", 20)))
    return trainer


def switches(clipping: GradientClipping) -> list[tuple[int, int]]:
    return [(event.step, event.data["to_rung"]) for event in clipping.history.events if event.kind == "switch"]


@pytest.mark.parametrize("switcher_first", [True, False])
def test_it_climbs_at_the_bad_step_itself_and_returns_when_calm(switcher_first):
    """The tighter strategy already clips the spike at step 100; 100 calm steps later the base is active again."""
    script = norms("quiet", 250)
    script[100] *= 300
    clipping = GradientClipping(NoClip())
    switcher = StrategySwitcher([NormClip(1.0)], blend_steps=10)
    fit(Scripted(script), *([switcher, clipping] if switcher_first else [clipping, switcher]), max_steps=250)
    assert switches(clipping) == [(100, 1), (200, 0)]
    spike = clipping.history[100]
    assert (spike.strategy, spike.clipped) == ("NormClip(1.0)", True)
    assert spike.norm_after == pytest.approx(1.0, rel=1e-4)
    assert clipping.history[99].strategy == "NoClip()"
    blended = "Blend(NormClip(1.0) → NoClip())"
    assert [record.strategy for record in list(clipping.history)[205:220:7]] == [blended, "NoClip()", "NoClip()"]
    assert clipping.history.events[0].message.startswith("NoClip() → NormClip(1.0): 1 spike, norm ")
    assert "times the median" in clipping.history.events[0].message


def test_it_climbs_further_while_spikes_continue():
    """A cluster of spikes climbs the whole ladder, one rung at a time."""
    clipping = GradientClipping(NoClip())
    fit(
        Scripted(norms("cluster")[900:1100]),
        clipping,
        StrategySwitcher([RobustClip(), NormClip(1.0), SkipSpikes()]),
        max_steps=200,
    )
    assert [rung for _, rung in switches(clipping)][:3] == [1, 2, 3]


def test_a_dry_run_only_records():
    """Events are recorded, and the weights are those of a run without it."""
    script = norms("cluster")[900:1100]
    clipping, watched, alone = GradientClipping(NoClip()), Scripted(script), Scripted(script)
    fit(watched, clipping, StrategySwitcher([NormClip(0.1)], dry_run=True), max_steps=200)
    fit(alone, max_steps=200)
    assert_same_weights(watched, alone)
    assert clipping.history.events[0].message.startswith("would switch NoClip()")
    assert {record.strategy for record in clipping.history} == {"NoClip()"}


def test_rungs_can_depend_on_the_step():
    """From step 120 on, another list of rungs is used."""
    script = norms("quiet", 200)
    script[[60, 150]] *= 300
    clipping = GradientClipping(NoClip())
    ladder = Ladder(calm=20, max_calm=20)
    fit(
        Scripted(script),
        clipping,
        StrategySwitcher({0: [NormClip(1.0)], 120: [NormClip(2.0)]}, ladder=ladder),
        max_steps=200,
    )
    assert clipping.history[60].strategy == "NormClip(1.0)"
    assert clipping.history[150].strategy == "NormClip(2.0)"


def test_judging_several_steps_together_climbs_later():
    """With `every_n_steps=10` the device is read once every ten steps, and a climb comes at the end of the ten."""
    script = norms("quiet", 200)
    script[101] *= 300
    clipping = GradientClipping(NoClip())
    fit(Scripted(script), clipping, StrategySwitcher([NormClip(1.0)], every_n_steps=10), max_steps=200)
    assert switches(clipping)[0] == (109, 1)


def test_calm_that_clipping_enforces_is_no_reason_to_descend():
    """The rung stays as long as the tighter strategy clips every step strongly."""
    script = 30 * norms("quiet", 150)
    script[100] *= 300
    clipping = GradientClipping(NoClip())
    fit(Scripted(script), clipping, StrategySwitcher([NormClip(1.0)], ladder=Ladder(calm=20)), max_steps=150)
    assert switches(clipping) == [(100, 1)]
    clipping = GradientClipping(NoClip())
    switcher = StrategySwitcher([NormClip(1.0)], ladder=Ladder(calm=20), max_jump=100.0)
    fit(Scripted(script), clipping, switcher, max_steps=130)
    assert switches(clipping) == [(100, 1), (120, 0)]


def test_a_climb_resets_the_momentum_of_the_bad_steps():
    """The optimizer's first moments are zero before the step that climbs."""
    script = norms("quiet", 120)
    script[100] *= 300

    def last_velocity(**options) -> float:
        module = Scripted(script)
        module.options["momentum"] = 0.9
        switcher = StrategySwitcher([NormClip(1.0)], **options)
        trainer = fit(module, GradientClipping(NoClip()), switcher, max_steps=101)
        return float(trainer.optimizers[0].state[module.net[0].weight]["momentum_buffer"][0, 0])

    assert last_velocity() == pytest.approx(1.0, rel=1e-4)  # the clipped gradient alone
    assert last_velocity(reset_momentum=False) > 5


def test_each_optimizer_has_its_own_rung():
    """A spike of one optimizer does not switch the strategy of the other."""

    class Trouble(TwoOptimizers):
        def training_step(self, batch, batch_idx):
            x, y = batch
            super().training_step((x, y), batch_idx)
            if batch_idx == 3:
                self.discriminator.weight.data *= 1e6  # the generator's next gradient explodes

    clipping = GradientClipping(NoClip())
    fit(Trouble(), clipping, StrategySwitcher([NormClip(1.0)]), max_epochs=1)
    assert {event.data["optimizer"] for event in clipping.history.events} == {0}


@pytest.mark.filterwarnings("ignore:You.re resuming from a checkpoint that ended before the epoch")
def test_resuming_equals_not_stopping(tmp_path):
    """Rung, detector, ladder, inactive strategies and events continue without a difference."""
    script = norms("heavy tail", 4000)[200:400]

    def callbacks():
        return GradientClipping(NoClip()), StrategySwitcher([RobustClip(window=16), NormClip(0.5)])

    whole, resumed = Scripted(script), Scripted(script)
    clipping, switcher = callbacks()
    fit(whole, clipping, switcher, max_steps=200)
    trainer = quiet_trainer(callbacks=list(callbacks()), max_steps=100)
    trainer.fit(Scripted(script), loader(rows=4 * 200))
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    restored, _ = others = callbacks()
    trainer = quiet_trainer(callbacks=list(others), max_steps=200)
    trainer.fit(resumed, loader(rows=4 * 200), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert switches(clipping)[0][0] < 100 < switches(clipping)[1][0]
    assert_same_weights(whole, resumed)
    assert [r.strategy for r in restored.history] == [r.strategy for r in clipping.history]
    assert list(restored.history.events) == list(clipping.history.events)


@pytest.mark.filterwarnings("ignore:You.re resuming from a checkpoint that ended before the epoch")
def test_resuming_with_other_rungs_starts_at_the_base(tmp_path):
    """A warning says so, and no state is restored."""
    script = norms("cluster")[900:1100]
    first = quiet_trainer(callbacks=[GradientClipping(NoClip()), StrategySwitcher([NormClip(1.0)])], max_steps=150)
    first.fit(Scripted(script), loader(rows=800))
    first.save_checkpoint(tmp_path / "half.ckpt")
    other = StrategySwitcher([NormClip(2.0), NormClip(1.0)])
    trainer = quiet_trainer(callbacks=[GradientClipping(NoClip()), other], max_steps=160)
    with pytest.warns(UserWarning, match="saved with other rungs"):
        trainer.fit(Scripted(script), loader(rows=800), ckpt_path=tmp_path / "half.ckpt")
    assert other.rung == 0


def test_a_rung_that_skips_too_much_is_disabled():
    """A rung that skips more than the allowed fraction of steps is disabled, and an event says so."""
    script = norms("quiet", 1080)
    script[200::8] *= 300
    clipping = GradientClipping(NoClip())
    ladder = Ladder(climb_at=(2.0,))
    fit(
        Scripted(script),
        clipping,
        StrategySwitcher([SkipSpikes(window=32, max_fraction=1.0)], ladder=ladder),
        max_steps=1080,
    )
    caps = [event for event in clipping.history.events if event.kind == "cap"]
    assert len(caps) == 1
    assert caps[0].message.startswith("rung 1 disabled: ")
    assert caps[0].message.endswith("% of the last steps were skipped")
    assert not any(record.skipped for record in list(clipping.history)[-70:])


SLOW = [pytest.param(seed, seed == 0, marks=pytest.mark.slow) for seed in (0, 3)]


@pytest.mark.parametrize(("seed", "to_the_end"), [(0, False), (1, False), *SLOW])
def test_it_saves_a_run_that_explodes_without_clipping(seed, to_the_end, tmp_path):
    """The regression network becomes NaN within ten steps without clipping; switching prevents it and is recorded."""
    seed_everything(seed, verbose=False)
    module, data = MLPRegressor(), RegressionDataModule()
    sink = JsonlSink(tmp_path / "run.jsonl")
    clipping = GradientClipping(NoClip(), sinks=[sink])
    switcher = StrategySwitcher([NormClip(1.0)])
    # A run that goes on to the end shows that nothing happens later; the others end when they are saved.
    saved = [] if to_the_end else [EarlyStopping("train_mse", stopping_threshold=300, patience=100)]
    trainer = quiet_trainer(callbacks=[clipping, switcher, *saved], max_epochs=40, limit_val_batches=0)
    trainer.fit(module, data)
    total = clipping.history.aggregates[0]
    assert total.nonfinite == 0
    assert switches(clipping)[0][0] < 10
    (metrics,) = trainer.test(module, data, verbose=False)
    assert metrics["test_mse"] < 3_000  # predicting the mean gives about 20,000
    lines = (tmp_path / "run.jsonl").read_text().splitlines()
    events = [json.loads(line)["event"] for line in lines if '"event"' in line[:10]]
    assert events[0]["kind"] == "switch"


def test_it_needs_a_clipping_callback():
    """The message names the remedy."""
    with pytest.raises(MisconfigurationException, match=r"needs a GradientClipping.*Add GradientClipping"):
        fit(Net(), StrategySwitcher([NormClip(1.0)]))


@pytest.mark.parametrize("rungs", [[], {}, {5: [NormClip(1.0)]}, {0: []}])
def test_rungs_are_needed_from_the_start(rungs):
    """Missing rungs are rejected at construction."""
    with pytest.raises(ValueError, match=r"StrategySwitcher\(rungs=.*from step 0 on"):
        StrategySwitcher(rungs)


def test_the_detector_can_be_set():
    """A detector that sees no spikes never switches."""
    clipping = GradientClipping(NoClip())
    detector = SpikeDetector(mild=1e6, severe=1e7)
    fit(
        Scripted(norms("cluster")[900:1100]),
        clipping,
        StrategySwitcher([NormClip(1.0)], detector=detector),
        max_steps=200,
    )
    assert not clipping.history.events


class Masked(Net):
    """Three of five batches have a gradient of exactly zero, because all their targets are masked."""

    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) * (0.0 if batch_idx % 5 < 3 else 1.0)


@pytest.mark.parametrize("every_n_steps", [1, 4])
def test_a_step_without_a_gradient_makes_the_next_one_no_spike(every_n_steps):
    """A healthy run in which many batches have no gradient never climbs."""
    clipping = GradientClipping(NoClip())
    trainer = quiet_trainer(callbacks=[clipping, StrategySwitcher([NormClip(0.1)], every_n_steps=every_n_steps)])
    trainer.fit(Masked(lr=1e-4), loader(rows=200))
    assert [record.norm_before for record in clipping.history].count(0.0) == 60
    assert switches(clipping) == []


def test_a_step_without_a_gradient_is_not_calm():
    """A descent after 20 calm steps waits for 20 steps with a gradient."""
    script = norms("quiet", 150)
    script[100] *= 300
    script[101:141:2] = 0
    clipping = GradientClipping(NoClip())
    fit(Scripted(script), clipping, StrategySwitcher([NormClip(1.0)], ladder=Ladder(calm=20)), max_steps=150)
    assert switches(clipping) == [(100, 1), (140, 0)]


def test_steps_without_a_gradient_do_not_hide_that_clipping_acts():
    """A descent waits while the tighter strategy clips the typical gradient, although most steps have none."""
    script = 30 * norms("quiet", 230)
    script[100] *= 300
    script[[step for step in range(101, 230) if step % 3]] = 0
    clipping = GradientClipping(NoClip())
    fit(Scripted(script), clipping, StrategySwitcher([NormClip(1.0)], ladder=Ladder(calm=20)), max_steps=230)
    assert switches(clipping) == [(100, 1)]
