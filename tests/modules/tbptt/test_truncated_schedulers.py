"""`TruncatedBPTTMixin`: learning-rate schedulers move with the optimizer, step by step or epoch by epoch."""

from functools import partial

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback
from lightning.pytorch.plugins.precision import MixedPrecision
from torch.utils.data import DataLoader, TensorDataset

from tests.support.streaming import Splitting, fit, loader, sequences

cells = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])


class _Rates(Callback):
    def __init__(self):
        self.rates = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.rates.append(optimizer.param_groups[0]["lr"])


def with_scheduler(model, make, **config):
    def configure():
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": make(optimizer), **config}}

    model.configure_optimizers = configure
    return model


@pytest.mark.parametrize("frequency", [1, 2])
def test_step_schedulers_move_with_the_optimizer(frequency):
    """Learning rates equal those of automatic optimization with one batch per chunk."""

    class Automatic(Splitting):
        def __init__(self):
            super().__init__(truncated_bptt_steps=10)
            self.automatic_optimization = True

        def training_step(self, batch, batch_idx):
            return self.tbptt_step(batch, None)[0]

        def on_train_epoch_end(self):
            pass

    halving = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    config, rates = {"interval": "step", "frequency": frequency}, []
    chunks = DataLoader(TensorDataset(*(part.reshape(6, 10, -1) for part in sequences(2, 30))), batch_size=1)
    for model, data in (
        (Splitting(truncated_bptt_steps=10), loader(rows=2, batch_size=1)),
        (Automatic(), chunks),
    ):
        watch = _Rates()
        fit(with_scheduler(model, halving, **config), data, callbacks=[watch], max_epochs=2)
        rates.append(watch.rates)
    assert rates[0] == rates[1]
    assert len(set(rates[0])) == 12 // frequency


def test_epoch_schedulers_move_once_an_epoch():
    """Epoch schedulers step once per epoch, including those that monitor a metric."""
    falls = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    waits = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, mode="max", patience=0, factor=0.5)
    for make, expected in [(falls, (1e-3, 5e-4, 2.5e-4)), (waits, (1e-3, 1e-3, 5e-4))]:
        watch, model = _Rates(), with_scheduler(Splitting(truncated_bptt_steps=10), make, interval="epoch")
        model.monitor = "train_loss_epoch"
        fit(model, loader(), callbacks=[watch], max_epochs=3)
        assert watch.rates == [rate for rate in expected for _ in range(6)]


def test_a_scheduler_that_watches_nothing_is_refused():
    """A plateau scheduler without a metric raises an error that lists the metrics and where to set one."""
    model = with_scheduler(Splitting(truncated_bptt_steps=10), torch.optim.lr_scheduler.ReduceLROnPlateau)
    with pytest.raises(MisconfigurationException, match=r"monitors None, .*Set `monitor` of Splitting .*: train_loss"):
        fit(model, loader())


@pytest.mark.parametrize(("scale", "moved"), [(2.0**10, True), (2.0**60, False)])
def test_schedulers_wait_while_the_scaler_skips(scale, moved):
    """A step that overflows changes neither the weights nor the learning rate."""
    model = with_scheduler(
        Splitting("rnn", truncated_bptt_steps=10),
        partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5),
        interval="step",
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    plugin = MixedPrecision("16-mixed", "cpu", scaler=scaler)
    trainer = fit(model, loader(), plugins=[plugin], limit_train_batches=1)
    assert trainer.optimizers[0].param_groups[0]["lr"] == (1e-3 * 0.5**3 if moved else 1e-3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()) is not moved
