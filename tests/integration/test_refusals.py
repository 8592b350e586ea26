"""Parallel strategies that hide the full gradients are rejected before training, with a remedy."""

import lightning.pytorch as pl
import pytest
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy

from lightning_clip import GradientClipping, GradientMonitor, NonFiniteGuard, NormClip, RichGradientReport
from tests.support.training import Net, loader, quiet_trainer

CALLBACKS = {
    "GradientClipping": lambda: GradientClipping(NormClip(1.0)),
    "GradientMonitor": GradientMonitor,
    "NonFiniteGuard": NonFiniteGuard,
}


@pytest.fixture
def under(monkeypatch):
    """Return a function that creates a trainer with a fake parallel strategy, because a real one needs GPUs."""

    def trainer_under(strategy, *callbacks):
        trainer = quiet_trainer(callbacks=list(callbacks))
        monkeypatch.setattr(pl.Trainer, "strategy", property(lambda self: strategy.__new__(strategy)))
        return trainer

    return trainer_under


@pytest.mark.parametrize("name", CALLBACKS)
@pytest.mark.parametrize(
    ("strategy", "reason", "remedy"),
    [
        (DeepSpeedStrategy, "its engine owns the gradients", "Set `gradient_clipping` in the DeepSpeed configuration"),
        (FSDPStrategy, "each rank sees slices", r"Use ModelParallelStrategy \(FSDP2\)"),
    ],
)
def test_unsupported_strategies_are_rejected_in_setup(under, name, strategy, reason, remedy):
    """The message names the callback, the strategy, why, and what to use instead."""
    callback = CALLBACKS[name]()
    trainer = under(strategy, callback)
    with pytest.raises(
        MisconfigurationException, match=rf"{name} cannot work with {strategy.__name__}.*{reason}.*{remedy}"
    ):
        callback.setup(trainer, Net(), "fit")


@pytest.mark.parametrize("name", CALLBACKS)
@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_stages_without_training_are_not_rejected(under, name, stage):
    """Validation, testing and prediction need no gradients, so any strategy is allowed."""
    callback = CALLBACKS[name]()
    callback.setup(under(FSDPStrategy, callback), Net(), stage)


def test_the_monitor_that_a_report_adds_is_rejected_too(under):
    """The monitor that `RichGradientReport` adds raises the same error."""
    report = RichGradientReport()
    trainer = under(DeepSpeedStrategy, report)
    report.setup(trainer, Net(), "fit")
    with pytest.raises(MisconfigurationException, match="GradientMonitor cannot work with DeepSpeedStrategy"):
        trainer.callbacks[-1].setup(trainer, Net(), "fit")


@pytest.mark.parametrize(("algorithm", "ours"), [("norm", "NormClip"), ("value", "ValueClip")])
def test_a_trainer_that_clips_is_told_what_does_the_same(algorithm, ours):
    """The message names the strategy that gives the same weights as the trainer's clipping."""
    callbacks = [GradientClipping(NormClip(1.0))]
    trainer = quiet_trainer(callbacks=callbacks, gradient_clip_val=0.5, gradient_clip_algorithm=algorithm)
    with pytest.raises(
        MisconfigurationException, match=rf"Remove .*: GradientClipping\({ours}\(0\.5\)\) gives the same"
    ):
        trainer.fit(Net(), loader())
