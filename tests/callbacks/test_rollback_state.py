"""What `DivergenceRollback` restores: partial states, buffers, averages of the weights."""

import math

import pytest
import torch
from lightning.pytorch import callbacks as others
from lightning.pytorch.callbacks import ModelPruning, StochasticWeightAveraging

from lightning_clip import DivergenceRollback
from tests.support.poisoned_steps import Poisoned
from tests.support.training import loader, quiet_trainer, weights_of

pytestmark = pytest.mark.filterwarnings("ignore:DivergenceRollback. step")


class Masked(Poisoned):
    """Leaves its first layer and its -inf mask out of its state."""

    strict_loading = False

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.register_buffer("mask", torch.full((4, 4), float("-inf")).triu(1))

    def state_dict(self, *args, **options):
        return {name: value for name, value in super().state_dict(*args, **options).items() if name.startswith("net.2")}


def test_it_restores_what_the_state_dict_leaves_out(tmp_path):
    """A partial `state_dict` and buffers that are infinite from the start are no obstacle, nor for checkpoints."""
    module, rollback = Masked(steps=range(4, 7)), DivergenceRollback(snapshot_every_n_steps=2)
    quiet_trainer(callbacks=[rollback], max_epochs=4).fit(module, loader())
    assert rollback.restores == 1
    assert all(param.isfinite().all() for param in module.parameters())
    module = Masked(steps=range(22, 24))
    trainer = quiet_trainer(callbacks=[DivergenceRollback(snapshot_every_n_steps=2)], max_epochs=4)
    trainer.fit(module, loader())
    with pytest.warns(UserWarning, match="step 24: weights are NaN or infinite: the checkpoint contains .* step 22"):
        trainer.save_checkpoint(tmp_path / "saved.ckpt")
    saved = torch.load(tmp_path / "saved.ckpt", weights_only=True)["state_dict"]
    assert saved.keys() == {"net.2.weight", "net.2.bias"}
    assert all(value.isfinite().all() for value in saved.values())
    assert all(param.isnan().all() for param in module.parameters())


class Normalized(Poisoned):
    """Has running statistics, which one batch makes NaN although its step is skipped."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(4)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = super().training_step((self.norm(x * (math.nan if self.global_step == 8 else 1.0)), y), batch_idx)
        return loss if loss.isfinite() else None


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
def test_poisoned_buffers_never_bring_back_old_weights(tmp_path):
    """Snapshots go on after a NaN batch that the module itself skipped; the checkpoint has the present weights."""
    module, rollback = Normalized(), DivergenceRollback(snapshot_every_n_steps=3)
    trainer = quiet_trainer(callbacks=[rollback], max_epochs=3)
    trainer.fit(module, loader())
    trainer.save_checkpoint(tmp_path / "saved.ckpt")
    saved = torch.load(tmp_path / "saved.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(saved["net.0.weight"], module.net[0].weight)
    assert module.norm.running_mean.isfinite().all()
    assert rollback._snapshot.step == 18


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
def test_a_checkpoint_with_poisoned_buffers_keeps_the_present_weights(tmp_path):
    """Right after a NaN batch, only the buffers in a checkpoint are older, and a warning says so."""
    module = Normalized()
    trainer = quiet_trainer(callbacks=[DivergenceRollback(snapshot_every_n_steps=4)], max_epochs=-1, max_steps=9)
    trainer.fit(module, loader())
    with pytest.warns(UserWarning, match="step 9: buffers are NaN or infinite: .* the buffers of step 8"):
        trainer.save_checkpoint(tmp_path / "saved.ckpt")
    saved = torch.load(tmp_path / "saved.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(saved["net.0.weight"], module.net[0].weight)
    assert saved["norm.running_mean"].isfinite().all()


@pytest.mark.skipif(not hasattr(others, "EMAWeightAveraging"), reason="Lightning averages weights since 2.6")
@pytest.mark.parametrize("rollback_first", [True, False])
def test_averages_of_the_weights_are_rolled_back_too(rollback_first, tmp_path):
    """A moving average that took in NaN weights is restored with them, and so is the average in a checkpoint."""
    callbacks = [DivergenceRollback(snapshot_every_n_steps=2), others.EMAWeightAveraging(decay=0.5)]
    module = Poisoned(steps=range(6, 9))
    quiet_trainer(callbacks=callbacks if rollback_first else callbacks[::-1]).fit(module, loader())
    assert callbacks[0].restores == 1
    assert all(value.isfinite().all() for value in weights_of(module).values())

    class Saving(Poisoned):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            if self.global_step == 8:
                self.trainer.save_checkpoint(tmp_path / "saved.ckpt")

    callbacks = [DivergenceRollback(snapshot_every_n_steps=2), others.EMAWeightAveraging(decay=0.5)]
    quiet_trainer(callbacks=callbacks if rollback_first else callbacks[::-1]).fit(Saving(steps=range(6, 9)), loader())
    saved = torch.load(tmp_path / "saved.ckpt", weights_only=True)
    for key in ("state_dict", "current_model_state"):
        assert all(value.isfinite().all() for value in saved[key].values()), key


@pytest.mark.parametrize(
    "other",
    [
        lambda: StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1, annealing_epochs=1),
        lambda: ModelPruning("l1_unstructured", amount=0.3, parameter_names=["weight"], verbose=0),
    ],
    ids=["SWA", "pruning"],
)
def test_it_rolls_back_beside_callbacks_that_exchange_weights_or_schedulers(other):
    """The weights are finite in the end, and so is an average of them."""
    callbacks = [other(), DivergenceRollback(snapshot_every_n_steps=2)]
    module = Poisoned(steps=range(14, 17))
    quiet_trainer(callbacks=callbacks, max_epochs=4).fit(module, loader())
    assert callbacks[1].restores == 1
    assert all(value.isfinite().all() for value in weights_of(module).values())
