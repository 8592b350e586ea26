"""`StepContext`: what the callbacks share about one optimizer step."""

import gc
import weakref

import pytest
from torch import nn

from lightning_clip import GradientClipping, GradientMonitor, GroupNormClip, NonFiniteGuard, NormClip
from tests.support.training import Net, TwoOptimizers, loader, quiet_trainer


def fit(module, *callbacks, **options):
    trainer = quiet_trainer(callbacks=list(callbacks), max_epochs=1, **options)
    trainer.fit(module, loader())
    return trainer


def test_globs_may_be_meant_for_another_optimizers_parameters():
    """A glob may match only another optimizer's parameters, but one that matches nothing at all raises an error."""
    callback = GradientClipping(GroupNormClip({"generator.*": 0.1, "discriminator.*": 0.2}))
    fit(TwoOptimizers(), callback)
    after = {record.optimizer: record.norm_after for record in callback.history}
    assert after == pytest.approx({0: 0.1, 1: 0.2}, rel=1e-5)
    with pytest.raises(ValueError, match=r"'critic\.\*' matches no parameter \('generator\.weight', .*correct it"):
        fit(TwoOptimizers(), GradientClipping(GroupNormClip({"generator.*": 0.1, "critic.*": 0.2})))


def test_parameters_that_are_added_later_have_names():
    """Names are computed again when an optimizer gets another parameter group."""

    class Growing(Net):
        def on_train_batch_start(self, batch, batch_idx):
            if batch_idx == 2:
                self.net.append(nn.Linear(1, 1))
                self.trainer.optimizers[0].add_param_group({"params": list(self.net[3].parameters())})

    callback = GradientMonitor()
    fit(Growing(), callback)
    assert callback.history.parameters.names[4:] == ["net.3.weight", "net.3.bias"]
    assert callback.history.parameters.steps.tolist() == [6, 6, 6, 6, 4, 4]


def test_gradients_live_no_longer_than_without_callbacks():
    """After the batch no callback holds a reference to them, whether the step was made or skipped."""
    seen = []

    class Looking(Net):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) * (float("nan") if batch_idx == 2 else 1.0)

        def configure_gradient_clipping(self, optimizer, *args, **kwargs):
            seen.append(weakref.ref(self.net[0].weight.grad) if self.net[0].weight.grad is not None else None)

        def on_train_batch_end(self, *args):
            self.zero_grad()
            gc.collect()
            assert seen[-1] is None or seen[-1]() is None

    fit(Looking(), GradientMonitor(), GradientClipping(NormClip(0.7)), NonFiniteGuard("skip"))
    assert len(seen) == 6
